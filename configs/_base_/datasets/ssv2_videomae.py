# Something-Something V2 validation as VideoMAE evaluates it: 2 clips x 3 crops of 16 frames, 224.
test_pipeline = [
    dict(type='OpenVideo'),
    dict(type='ProtocolSampleFrames', protocol='videomae_ssv2', num_clips=2),
    dict(type='DecordDecode'),
    dict(type='ShortSideCrops', size=224, num_crops=3),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoListDataset',
        ann_file='data/sthv2/sthv2_val_list_videos.txt',
        data_prefix=dict(video='data/sthv2/videos'),
        num_classes=174,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
