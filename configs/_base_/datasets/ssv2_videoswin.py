# Something-Something V2 validation as VideoSwin evaluates it: 1 clip x 3 crops of 32 frames, 224.
test_pipeline = [
    dict(type='OpenVideo'),
    dict(type='ProtocolSampleFrames', protocol='videoswin_ssv2', num_clips=1, clip_len=32),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224),
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
