# Trains checkpoints/sta_vit_motions.safetensors, without dropping any token:
#   make train-data && python tools/train.py configs/train_sta_vit_motions.py --amp
_base_ = ['sta_vit_motions.py', '_base_/schedules/motions.py']
