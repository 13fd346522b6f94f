"""From annotation files and a folder of videos to lists that can be evaluated."""
