"""A CalcJob that copies a full trajectory to a permanent folder, on the computer that stores it."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_mlip_autopipe.calculations.job import define_failures
from aiida_mlip_autopipe.data.stash import LOG_FILE, REPORT_FILE, stash_folder

# This is a shell script, because a container of the exploration's code would see neither folder. It copies only the
# part of the file that the result of the exploration job covers. The copy has a temporary name until it is complete.
SCRIPT = """\
set -u
fail() {
    echo "$1: $2"
    exit 1
}
hash() { sha256sum | cut -d' ' -f1; }
[ -f "$original" ] || fail original "the file $original does not exist"
[ "$(head -c "$size" "$original" | hash)" = "$sha256" ] ||
    fail original "the sha256 of $original is not the one that its job reported"
mkdir -p "$folder" || fail folder "the folder $folder cannot be created"
part=$folder/.$name.part
trap 'rm -f "$part"' EXIT
head -c "$size" "$original" >"$part" && sync "$part" || fail folder "$part cannot be written"
copied=$(hash <"$part")
[ "$copied" = "$sha256" ] || fail copy "the sha256 of the copy in $folder differs from that of the original"
mv "$part" "$folder/$name" && echo "$sha256  $name" >"$folder/$name.sha256" ||
    fail folder "$folder/$name cannot be written"
echo "$copied" >"$report"
"""


class StashCalculation(CalcJob):
    """Copies the full trajectory of an exploration job to another folder, and verifies the original and the copy."""

    SCRIPT_FILE = 'stash.sh'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('source', valid_type=orm.RemoteData, help='The folder of the exploration job.')
        spec.input('result', valid_type=orm.Dict, help='The result of the exploration job.')
        spec.input('folder', valid_type=orm.Str, help='The folder for the copy, on the same computer.')
        spec.inputs['metadata']['computer'].required = True
        options = spec.inputs['metadata']['options']
        options['parser_name'].default = 'mlip_autopipe.stash'
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        spec.output(
            'stashed', valid_type=orm.RemoteStashFolderData, required=False, help='The folder of the verified copy.'
        )
        define_failures(spec)
        for status, label, message in (
            (300, 'ERROR_REPORT_MISSING', 'The job left no report: {reason}'),
            (340, 'ERROR_ORIGINAL', 'The full trajectory is missing or has changed: {reason}'),
            (341, 'ERROR_FOLDER', 'The copy cannot be written: {reason}'),
            (342, 'ERROR_COPY', 'The copy differs from the original: {reason}'),
        ):
            spec.exit_code(status, label, message=message, invalidates_cache=True)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the script."""
        recorded = self.inputs.result['full_trajectory']
        variables = {
            'original': str(PurePosixPath(self.inputs.source.get_remote_path(), recorded['file'])),
            'size': str(recorded['size_bytes']),
            'sha256': recorded['sha256'],
            'folder': stash_folder(self.inputs.folder.value, self.inputs.source, self.inputs.result),
            'name': recorded['file'],
            'report': REPORT_FILE,
        }
        lines = [f'{name}={shlex.quote(value)}' for name, value in variables.items()]
        Path(folder.get_abs_path(self.SCRIPT_FILE)).write_text('\n'.join([*lines, SCRIPT]))
        calculation = CalcInfo()
        calculation.codes_info = []
        calculation.append_text = f'sh {self.SCRIPT_FILE} >{LOG_FILE} 2>&1'
        calculation.retrieve_list = [REPORT_FILE, LOG_FILE]
        return calculation
