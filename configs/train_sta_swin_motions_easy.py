# First lesson of the embedded VideoSwin, on bright objects before a dark background.
#   python tools/train.py configs/train_sta_swin_motions_easy.py --amp bf16
_base_ = 'train_sta_swin_motions.py'
train_dataloader = dict(dataset=dict(ann_file='{{ fileDirname }}/../data/motions/train_easy.txt'))
train_cfg = dict(max_epochs=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
]
load_from = None
