# Videos of one's own, of any size and length: 2 clips x 3 crops of 16 frames, 96 x 96, spread over the video.
test_pipeline = [
    dict(type='OpenVideo'),
    dict(type='ProtocolSampleFrames', protocol='videomae_ssv2', num_clips=2),
    dict(type='DecodeFrames'),
    dict(type='ShortSideCrops', size=96, num_crops=3),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_dataloader = dict(
    batch_size=4,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='VideoListDataset',
        ann_file='data/mine/list_videos.txt',
        data_prefix=dict(video='data/mine/videos'),
        num_classes=10,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
