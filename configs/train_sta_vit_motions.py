# Trains checkpoints/sta_vit_motions.safetensors without dropping any token, from the first lesson:
#   python tools/train.py configs/train_sta_vit_motions.py --amp bf16
_base_ = ['sta_vit_motions.py', '_base_/schedules/motions.py']
load_from = 'work_dirs/train_sta_vit_motions_easy/epoch_6.pth'
