"""Damaged files, files that are no checkpoints, files from strangers: one line, nothing is run."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import re
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sta.checkpoints import load_checkpoint, read_state_dict
from sta.errors import CheckpointError
from tests.checkpoints.sources import WRAPPINGS, Touch, recognizer, refusal, weights_of

pytestmark = pytest.mark.filterwarnings('ignore:Detected pickle protocol:UserWarning')


def saved_bytes(is_zip: bool) -> bytes:
    file = io.BytesIO()
    content = WRAPPINGS['model'](weights_of(recognizer()))
    torch.save(content, file, _use_new_zipfile_serialization=is_zip)
    return file.getvalue()


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('share', [0.001, 0.02, 0.3, 0.7, 0.999])
def test_a_truncated_file(share, is_zip, tmp_path) -> None:
    data = saved_bytes(is_zip)
    (tmp_path / 'cut.pth').write_bytes(data[: int(len(data) * share)])
    refusal(tmp_path / 'cut.pth')


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
def test_damaged_files_load_or_are_refused(is_zip, tmp_path) -> None:
    """Five changed bytes: never an error of another kind, which would be a traceback."""
    data, refused = saved_bytes(is_zip), 0
    draw, path = random.Random(0), tmp_path / 'damaged.pth'
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(5):
            damaged[draw.randrange(6000)] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except CheckpointError as error:
            refused += 1
            assert '\n' not in str(error)
    assert refused > 50


def zip_of(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file.getvalue()


def tar_of(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


NO_CHECKPOINTS = {
    'empty': (b'', 'is empty'),
    'text': (b'accuracy 81.5\n' * 40, "it starts with b'accuracy 81.5"),
    'web page': (b'<!DOCTYPE html><html>404</html>', 'is a web page, not the file itself'),
    'web page after a line': (b'\n<html lang="en">', 'is a web page, not the file itself'),
    'tar': (tar_of('notes.txt'), 'is a tar archive: unpack it'),
    'gzip': (gzip.compress(b'weights', mtime=0), 'is compressed: unpack it first'),
    'hdf5': (b'\x89HDF\r\n\x1a\n' + bytes(90), 'is an HDF5 file'),
    'pointer': (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n', 'git lfs pull'),
    'zip': (zip_of(notes='no weights here'), 'is a zip archive of notes, not a checkpoint'),
    'zip of folders': (zip_of(**{'a/b.txt': 'none'}), 'is a zip archive of a/b.txt, not'),
    'pickle': (pickle.dumps({'a': [1, 2]}), 'not those of a plain torch checkpoint'),
}


@pytest.mark.parametrize('kind', NO_CHECKPOINTS)
def test_files_that_are_no_checkpoints(kind, tmp_path) -> None:
    content, reason = NO_CHECKPOINTS[kind]
    (tmp_path / 'ckpt.pth').write_bytes(content)
    message = refusal(tmp_path / 'ckpt.pth')
    assert reason in message
    # torch's own advice is to switch its protection off
    assert 'weights_only' not in message and 'Re-running' not in message


@pytest.mark.parametrize('kind', NO_CHECKPOINTS)
def test_files_that_are_no_safetensors(kind, tmp_path) -> None:
    (tmp_path / 'ckpt.safetensors').write_bytes(NO_CHECKPOINTS[kind][0])
    reason = {'text': 'cannot be read as a', 'pickle': 'cannot be read as a'}.get(kind)
    assert (reason or NO_CHECKPOINTS[kind][1]) in refusal(tmp_path / 'ckpt.safetensors')


@pytest.mark.skipif(
    not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may read everything'
)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_file_one_may_not_read(suffix, tmp_path) -> None:
    path = tmp_path / f'ckpt{suffix}'
    path.write_bytes(saved_bytes(is_zip=True))
    path.chmod(0)
    assert 'ermission' in refusal(path)


@pytest.mark.skipif(not Path('/proc/self/mem').exists(), reason='needs the /proc of Linux')
def test_a_disk_that_fails_while_reading() -> None:
    """The first page of a process is a file whose reading fails, whoever asks."""
    assert 'nput/output error' in refusal('/proc/self/mem')


def test_a_truncated_safetensors_file(tmp_path) -> None:
    path = tmp_path / 'ckpt.safetensors'
    save_file({'a': torch.arange(100.0)}, path)
    path.write_bytes(path.read_bytes()[:-7])
    assert 'cannot be read as a checkpoint' in refusal(path)


@pytest.mark.parametrize('length', [0, 5, 10**9, 2**62])
def test_a_safetensors_file_with_a_broken_header(length, tmp_path) -> None:
    path = tmp_path / 'ckpt.safetensors'
    save_file({'a': torch.arange(100.0)}, path)
    path.write_bytes(length.to_bytes(8, 'little') + path.read_bytes()[8:])
    assert 'cannot be read as a checkpoint' in refusal(path)


def test_a_safetensors_file_under_another_name(tmp_path) -> None:
    save_file({'a': torch.arange(100.0)}, tmp_path / 'pytorch_model.bin')
    assert torch.equal(read_state_dict(tmp_path / 'pytorch_model.bin')['a'], torch.arange(100.0))


def test_a_torch_file_under_the_name_of_safetensors(tmp_path) -> None:
    path = tmp_path / 'ckpt.safetensors'
    path.write_bytes(saved_bytes(is_zip=True))
    assert 'is a file of torch and no .safetensors: rename it to .pth' in refusal(path)


@pytest.mark.parametrize('share', [0.3, 0.999])
def test_a_download_that_broke_off(share, tmp_path) -> None:
    data = saved_bytes(is_zip=True)
    (tmp_path / 'cut.pth').write_bytes(data[: int(len(data) * share)])
    assert 'is cut off or damaged: download it again' in refusal(tmp_path / 'cut.pth')


def test_a_checkpoint_that_swells_when_unpacked_is_not_read(tmp_path, monkeypatch) -> None:
    """A real one, packed: torch would read it, and a packed terabyte of zeros as well."""
    torch.save({'model': {'a': torch.zeros(50_000)}}, tmp_path / 'plain.pth')
    with (
        zipfile.ZipFile(tmp_path / 'plain.pth') as plain,
        zipfile.ZipFile(tmp_path / 'bomb.pth', 'w', zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert len(torch.load(tmp_path / 'bomb.pth')['model']['a']) == 50_000
    monkeypatch.setattr(torch, 'load', lambda *_, **__: pytest.fail('it was read'))
    message = refusal(tmp_path / 'bomb.pth')
    assert 'was refused' in message and re.search(r'its \d{3,4} bytes unpack to 20\d{4},', message)


def test_a_warning_about_an_old_file_does_not_break_the_one_line(tmp_path) -> None:
    (tmp_path / 'ckpt.pth').write_bytes(pickle.dumps({'a': [1, 2]}, protocol=4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        refusal(tmp_path / 'ckpt.pth')
    assert not caught


def test_names_that_would_drive_the_terminal_are_escaped(tmp_path) -> None:
    torch.save({'\x1b[2Jweights\n': 1}, tmp_path / 'ckpt.pth')
    assert r'\x1b[2Jweights\n' in refusal(tmp_path / 'ckpt.pth')
    long = {'a' * 10_000: torch.zeros(1)}
    torch.save({'state_dict': long}, tmp_path / 'long.pth')
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(recognizer(), tmp_path / 'long.pth')
    assert len(str(caught.value)) < 700


def lora(*names: str) -> dict[str, torch.Tensor]:
    return {
        f'base_model.model.encoder.layer.0.query.{name}.weight': torch.ones(2) for name in names
    }


WEIGHT = 'backbone.blocks.0.mlp.layers.1.weight'
# Tensors that are no plain weights, changes to those of a model: what the line says.
OTHER_FORMS = {
    'lora': (lambda _: lora('lora_A', 'lora_B'), 'is an adapter (LoRA, PEFT) without the model'),
    'lora in a model': (lambda w: {**w, **lora('base_layer', 'lora_A')}, 'that is not merged'),
    'head of an adapter': (
        lambda w: {**w, 'cls_head.fc_cls.modules_to_save.default.bias': torch.ones(5)},
        'merge_and_unload',
    ),
    'int8': (lambda w: {**w, WEIGHT: w[WEIGHT].to(torch.int8)}, f'{WEIGHT} is stored as int8'),
    'uint8': (lambda w: {**w, WEIGHT: w[WEIGHT].to(torch.uint8)}, f'{WEIGHT} is stored as uint8'),
    'float8': (
        lambda w: {**w, WEIGHT: w[WEIGHT].to(torch.float8_e4m3fn)},
        f'{WEIGHT} is stored as float8_e4m3fn, which needs a scale',
    ),
    'bitsandbytes 8': (
        lambda w: {**w, f'{WEIGHT[:-7]}.SCB': torch.ones(3)},
        'is quantised (backbone.blocks.0.mlp.layers.1.SCB): save the weights in float16',
    ),
    'bitsandbytes 4': (
        lambda w: {**w, f'{WEIGHT}.quant_state.bitsandbytes__nf4': torch.ones(3)},
        'is quantised',
    ),
    'gptq': (lambda w: {**w, f'{WEIGHT[:-7]}.qweight': torch.ones(3)}, '.dequantize()'),
    'torch.ao': (
        lambda w: {**w, WEIGHT: torch.quantize_per_tensor(w[WEIGHT], 0.1, 0, torch.qint8)},
        f'is quantised ({WEIGHT})',
    ),
    'torch.ao, packed': (lambda w: {**w, 'fc._packed_params._packed_params': 1}, 'is quantised'),
    'fsdp': (
        lambda w: {'_fsdp_wrapped_module.flat_param': torch.ones(9)},
        'FSDP (_fsdp_wrapped_module.flat_param): save the whole of it',
    ),
    'zero 3': (
        lambda w: {name: tensor[:0].flatten() for name, tensor in w.items()},
        'as in the files of DeepSpeed ZeRO-3, which splits weights among processes: python -m '
        'deepspeed.utils.zero_to_fp32 FOLDER TARGET makes one file',
    ),
}


@pytest.mark.parametrize('container', [None, 'module'])
@pytest.mark.parametrize('form', OTHER_FORMS)
@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::UserWarning')
def test_forms_that_are_no_plain_weights(form, container, tmp_path) -> None:
    change, said = OTHER_FORMS[form]
    content = change(weights_of(recognizer()))
    torch.save({container: content} if container else content, tmp_path / 'ckpt.pth')
    assert said in refusal(tmp_path / 'ckpt.pth')


def test_tables_of_indices_are_whole_numbers_by_nature(tmp_path) -> None:
    tensors = {'layers.0.attn.relative_position_index': torch.arange(4)}
    torch.save(tensors, tmp_path / 'ckpt.pth')
    assert read_state_dict(tmp_path / 'ckpt.pth').keys() == tensors.keys()


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (WRAPPINGS['model']({})['optimizer'], 'It is the state of an optimizer'),
        ({'optimizer': {'state': {}}, 'epoch': 3}, 'It is the state of an optimizer'),
        ({'optimizer_state_dict': {}, 'ds_version': '0.16'}, 'It is of DeepSpeed, without weights'),
        ({'model': {'language_model': {}}, 'args': None}, 'It is of Megatron-LM'),
    ],
    ids=['bare optimizer', 'optimizer', 'deepspeed', 'megatron'],
)
def test_what_a_file_without_weights_is(content, said, tmp_path) -> None:
    torch.save(content, tmp_path / 'ckpt.pth')
    assert said in refusal(tmp_path / 'ckpt.pth')


@pytest.mark.parametrize(
    ('source', 'said'),
    [
        (
            'https://huggingface.co/MCG-NJU/videomae-base/resolve/main/model.safetensors',
            'run hf download MCG-NJU/videomae-base --local-dir videomae-base, and give the folder',
        ),
        ('hf://MCG-NJU/videomae-base', 'run hf download MCG-NJU/videomae-base --local-dir'),
        ('https://example.org/a b.pth', "curl -LO 'https://example.org/a b.pth'"),
        ('s3://bucket/file.pth', 'fetch it and give the path of the file'),
        ('torchvision://resnet50', 'fetch it and give the path of the file'),
        ('file:///tmp/none.pth', 'give the path alone, without file:'),
    ],
)
def test_an_address_is_not_fetched(source, said) -> None:
    message = refusal(source)
    assert 'is an address, and nothing is downloaded; ' in message and said in message


def test_the_name_of_a_repository_is_not_fetched(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = 'MCG-NJU/videomae-base-finetuned-kinetics'
    assert refusal(name) == (
        f'checkpoint {name} does not exist here; if it is the name of a Hugging Face repository: '
        f'nothing is downloaded; run hf download {name} --local-dir '
        f'videomae-base-finetuned-kinetics, and give the folder videomae-base-finetuned-kinetics'
    )
    (tmp_path / 'runs').mkdir()
    for path in ('runs/none', 'other/none.pth'):
        assert refusal(path) == f'checkpoint {path} does not exist'


def test_a_missing_file_and_a_folder(tmp_path) -> None:
    missing = tmp_path / 'none.pth'
    assert refusal(missing) == f'checkpoint {missing} does not exist'
    assert refusal(tmp_path).startswith(f'checkpoint {tmp_path} is a folder without model.safe')


def attacks(marker: Path) -> dict[str, tuple[Touch, str]]:
    """What to pickle, and the call as the refusal must name it."""
    return {
        'shell': (Touch(os.system, f'touch {marker}'), f'{os.system.__module__}.system'),
        'open': (Touch(open, str(marker), 'w'), 'io.open'),
        'eval': (Touch(eval, f'open({str(marker)!r}, "w")'), 'eval'),
        'getattr': (Touch(getattr, Touch(open, str(marker), 'w'), 'close'), 'io.open'),
    }


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('place', ['args', 'model'])
@pytest.mark.parametrize('kind', ['shell', 'open', 'eval', 'getattr'])
def test_an_attack_is_refused_and_does_not_run(kind, place, is_zip, tmp_path) -> None:
    marker, path = tmp_path / 'marker', tmp_path / 'attack.pth'
    attack, call = attacks(marker)[kind]
    content = {**WRAPPINGS['model'](weights_of(recognizer())), place: attack}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    torch.load(path, weights_only=False)
    assert marker.exists(), 'the attack must be a live one'
    marker.unlink()

    message = refusal(path, recognizer(seed=1))
    assert not marker.exists()
    assert message.startswith(f'{path} was refused: it asks to call ')
    assert call in message and 'save the plain state_dict, best as .safetensors' in message


def test_what_is_passed_over_is_not_called(tmp_path) -> None:
    """getattr stands in mmengine's logs; a file cannot use it to reach anything."""
    reach = Touch(getattr, Touch(getattr, torch.Size, '__class__'), '__subclasses__')
    torch.save({'model': weights_of(recognizer()), 'reach': reach}, tmp_path / 'reach.pth')
    assert set(read_state_dict(tmp_path / 'reach.pth')) == set(recognizer().state_dict())


def test_a_whole_pickled_model_is_refused(tmp_path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / 'whole.pth')
    message = refusal(tmp_path / 'whole.pth')
    assert 'it asks to call torch.nn.modules.container.Sequential' in message


@pytest.mark.skipif(
    not hasattr(torch.serialization, 'get_safe_globals'), reason='torch < 2.4 has no allow-list'
)
def test_the_global_allow_list_stays_as_it_was(trained, tmp_path) -> None:
    torch.serialization.add_safe_globals([Path])
    before = list(torch.serialization.get_safe_globals())
    load_checkpoint(recognizer(), trained[1])
    torch.save({'model': {'a': Touch(os.system, 'true')}}, tmp_path / 'attack.pth')
    for source in (tmp_path / 'attack.pth', tmp_path / 'none.pth'):
        with pytest.raises(CheckpointError):
            read_state_dict(source)
    after = torch.serialization.get_safe_globals()
    assert len(after) == len(before) and all(item in after for item in before)
