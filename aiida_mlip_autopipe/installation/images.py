"""Apptainer images: how jobs run in them, and how their sha256 is computed."""

from __future__ import annotations

import shlex

from aiida import orm

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.jobs.contract import IMAGE_VARIABLE

PYTHON_IN_IMAGE = '/opt/mlip/bin/python'
"""The interpreter in the images that ``containers/`` defines."""

# The computer hashes an image once. It stores the sha256 with the size, inode and times of the image in a hidden file
# beside the image or, if that folder is not writable, in the user's home. Every write to the image updates its change
# time (ctime), which no program can set.
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
    """Return the command that starts Apptainer with the job's folder and the models, but without the user's packages.

    AiiDA splits the command at spaces and quotes each word. The computer must use double quotes, in which the shell
    expands ``$PWD``.

    Raises
    ------
    AutopipeError
        If the path of the folder contains a space.
    """
    if len(model_folder.split()) != 1:
        raise AutopipeError(
            Code.VALUE_INVALID, f'the path of the folder for models must not contain a space: {model_folder!r}'
        )
    return (
        f'apptainer exec --bind $PWD:$PWD --bind {model_folder}:{model_folder} --pwd $PWD '
        '--env PYTHONNOUSERSITE=1 {image_name}'
    )


def image_hash_script(image: str) -> str:
    """Return the lines of a submission script that hash an image and pass the result to the job."""
    return f'{HASH_FUNCTION}\nexport {IMAGE_VARIABLE}="$(autopipe_sha256 {shlex.quote(image)})"'


def hash_image(computer: orm.Computer, image: str) -> str:
    """Return the sha256 of an image on a computer.

    Raises
    ------
    AutopipeError
        If the file does not exist or cannot be read.
    """
    with computer.get_transport() as transport:
        status, output, error = transport.exec_command_wait(f'{HASH_FUNCTION}\nautopipe_sha256 {shlex.quote(image)}')
    words = output.split()
    if status or not words:
        raise AutopipeError(
            Code.IMAGE_MISSING, f'the image {image} on {computer.label} is missing or unreadable: {error.strip()}'
        )
    return str(words[-1])
