# Kinetics-400 validation: which videos, and how they are loaded.
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoListDataset',
        ann_file='{{ fileDirname }}/../../../data/kinetics400/kinetics400_val_list_videos.txt',
        data_prefix=dict(video='{{ fileDirname }}/../../../data/kinetics400/videos_val'),
        num_classes=400,
        classes='kinetics400',
        test_mode=True,
    ),
)
