"""The record of the processor."""

import pytest

from aiida_mlip_autopipe.jobs.processor import read_processor

X86 = (
    'processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: EPYC\n\nprocessor\t: 1\n'
)
ARM = 'processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (X86, ', vendor_id AuthenticAMD, cpu family 25, model 1'),
        (ARM, ', CPU implementer 0x41, CPU part 0xd0c'),
        ('', ''),
    ],
)
def test_the_family_and_the_model_of_a_processor_are_read(text, expected, tmp_path):
    path = tmp_path / 'cpuinfo'
    path.write_text(text)
    found = read_processor(path)
    assert found == read_processor(tmp_path / 'missing') + expected
