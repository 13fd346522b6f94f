# Kinetics-400 validation as VideoSwin evaluates it: 4 clips x 3 crops of 32 frames, stride 2, 224.
_base_ = 'kinetics400.py'
test_pipeline = [
    dict(type='OpenVideo'),
    dict(
        type='ProtocolSampleFrames', protocol='videoswin_k400', num_clips=4, clip_len=32, stride=2
    ),
    dict(type='DecodeFrames'),
    dict(type='ShortSideCrops', size=224, num_crops=3, rule='videoswin'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
