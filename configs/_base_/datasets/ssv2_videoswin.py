# Something-Something V2 validation as VideoSwin evaluates it: 1 clip x 3 crops of 32 frames, 224.
_base_ = 'ssv2.py'
test_pipeline = [
    dict(type='OpenVideo'),
    dict(type='ProtocolSampleFrames', protocol='videoswin_ssv2', num_clips=1, clip_len=32),
    dict(type='DecodeFrames'),
    dict(type='ShortSideCrops', size=224, num_crops=3, rule='videoswin'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
