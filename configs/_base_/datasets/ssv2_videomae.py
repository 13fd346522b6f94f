# Something-Something V2 validation as VideoMAE evaluates it: 2 clips x 3 crops of 16 frames, 224.
_base_ = 'ssv2.py'
test_pipeline = [
    dict(type='OpenVideo'),
    dict(type='ProtocolSampleFrames', protocol='videomae_ssv2', num_clips=2),
    dict(type='DecodeFrames'),
    dict(type='ShortSideCrops', size=224, num_crops=3),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
