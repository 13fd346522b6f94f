# Something-Something V2 validation: which videos, and how they are loaded.
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoListDataset',
        ann_file='{{ fileDirname }}/../../../data/sthv2/sthv2_val_list_videos.txt',
        data_prefix=dict(video='{{ fileDirname }}/../../../data/sthv2/videos'),
        num_classes=174,
        classes='ssv2',
        test_mode=True,
    ),
)
