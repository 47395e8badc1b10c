"""Apptainer images: how a job enters one, and how it is known that it is the one expected."""

from __future__ import annotations

import shlex

from aiida import orm

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.jobs.contract import IMAGE_VARIABLE

PYTHON_IN_IMAGE = '/opt/mlip/bin/python'
"""The interpreter in the images that ``containers/`` defines."""

# The file is hashed once, on the computer: size, inode and times of the image stand beside the sha256, in a hidden file
# next to it or, where that folder is not the user's, at home. Whoever writes to the image changes its time of change,
# which no program can set.
HASH_FUNCTION = """\
autopipe_sha256() {
    local state sum folder note line
    state=$(stat -L -c '%s %i %.9Y %.9Z' "$1" 2>/dev/null) || return 0
    for folder in "$(dirname "$1")" "$HOME/.mlip-autopipe"; do
        note="$folder/.$(basename "$1").sha256"
        if read -r line 2>/dev/null < "$note" && [ "${line#* }" = "$state" ]; then echo "${line%% *}"; return 0; fi
    done
    sum=$(sha256sum "$1") || return 0
    sum=${sum%% *}
    mkdir -p "$HOME/.mlip-autopipe" 2>/dev/null
    for folder in "$(dirname "$1")" "$HOME/.mlip-autopipe"; do
        note="$folder/.$(basename "$1").sha256"
        { echo "$sum $state" > "$note.$$" && mv -T "$note.$$" "$note"; } 2>/dev/null && break
        rm -f "$note.$$"
    done
    echo "$sum"
}"""


def engine_command(model_folder: str) -> str:
    """Return how Apptainer is called: with the job's folder, the models, and no package of the user's home.

    AiiDA splits it at spaces and quotes each word by itself, so ``$PWD`` stands for the job's folder only where the
    computer uses double quotes.
    """
    if len(model_folder.split()) != 1:
        raise AutopipeError(
            Code.VALUE_INVALID, f'the folder of the models, {model_folder!r}, must not have a space in its name'
        )
    return (
        f'apptainer exec --bind $PWD:$PWD --bind {model_folder}:{model_folder} --pwd $PWD '
        '--env PYTHONNOUSERSITE=1 {image_name}'
    )


def tell_image_hash(image: str) -> str:
    """Return the lines of a submission script that hash an image and tell a job the result."""
    return f'{HASH_FUNCTION}\nexport {IMAGE_VARIABLE}="$(autopipe_sha256 {shlex.quote(image)})"'


def hash_image(computer: orm.Computer, image: str) -> str:
    """Return the sha256 of an image on a computer.

    Raises
    ------
    AutopipeError
        If there is no such file.
    """
    with computer.get_transport() as transport:
        status, output, error = transport.exec_command_wait(f'{HASH_FUNCTION}\nautopipe_sha256 {shlex.quote(image)}')
    words = output.split()
    if status or not words:
        raise AutopipeError(
            Code.IMAGE_MISSING, f'there is no image {image} on {computer.label} that can be read: {error.strip()}'
        )
    return str(words[-1])
