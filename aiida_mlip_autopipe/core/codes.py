"""The codes of the errors that a user can encounter: what each one means and what to do.

The name and the meaning of a code do not change, so scripts and tests can compare codes. Messages may change.
"""

from __future__ import annotations

from aiida_mlip_autopipe.core.explained import ExplainedEnum


class Code(ExplainedEnum):
    """The code of an error, such as ``file_missing``."""

    # Files and packages, in every part of the program.
    FILE_MISSING = 'file_missing', 'The file does not exist.', 'Correct the path, or create the file.'
    FILE_EXISTS = 'file_exists', 'The output file already exists.', 'Choose another name, or use `--force`.'
    FILE_UNREADABLE = (
        'file_unreadable',
        'The file cannot be read: it is damaged, it has a different format, or its permissions are wrong.',
        'Check the file with the program that wrote it.',
    )
    FILE_UNWRITABLE = 'file_unwritable', 'The file cannot be written.', 'Free up space, or choose another folder.'
    FILE_SUFFIX = 'file_suffix', 'The suffix of the file name is not supported.', 'Use one of the listed suffixes.'
    NOT_A_FILE = 'not_a_file', 'The path is that of a folder, link or device.', 'Use the name of a file.'
    FOLDER_MISSING = 'folder_missing', 'The folder does not exist.', 'Create the folder, or correct the path.'
    PACKAGE_MISSING = 'package_missing', 'An optional package is missing.', 'Install it as described in the message.'
    KIND_UNKNOWN = 'kind_unknown', 'No such kind exists.', 'Use one of the listed kinds.'
    PLUGIN_BROKEN = (
        'plugin_broken',
        'A kind that another package provides cannot be used.',
        'Update that package, or report the error to its authors.',
    )
    SCHEMA_VERSION = (
        'schema_version',
        'The data have a schema version that this version of the program does not support.',
        'Update aiida-mlip-autopipe.',
    )

    # The config file.
    CALCULATOR_UNSUITABLE = (
        'calculator_unsuitable',
        'The calculator does not support an option of the config.',
        'Use another calculator, or change the option.',
    )
    CONFIG_INVALID = 'config_invalid', 'The config has errors.', 'Correct each error in the list.'
    INTERPOLATION_FAILED = (
        'interpolation_failed',
        'An interpolation `${…}` in the config has no value.',
        'Define the key or the environment variable, or write `\\${` for a literal `${`.',
    )
    OVERRIDE_INVALID = 'override_invalid', 'An override cannot be applied.', 'Correct this override.'
    YAML_INVALID = (
        'yaml_invalid',
        'The file is not valid YAML, or its content is not a mapping with unique string keys.',
        'Correct the line named in the message.',
    )
    VALUE_MISSING = 'value_missing', 'A required value is missing.', 'Add the key.'
    KEY_UNKNOWN = 'key_unknown', 'No such key exists here.', 'Use one of the listed keys.'
    KEY_RENAMED = 'key_renamed', 'The key was renamed.', 'Use the new name.'
    KIND_RENAMED = 'kind_renamed', 'The kind was renamed.', 'Use the new name.'
    KIND_MISSING = 'kind_missing', 'The section has no kind.', 'Add one of the listed kinds.'
    CHOICE_UNKNOWN = 'choice_unknown', 'The value is not one of the choices.', 'Use one of the listed values.'
    TYPE_WRONG = 'type_wrong', 'The value has the wrong type.', 'Use a value of the type given in the message.'
    OUT_OF_RANGE = 'out_of_range', 'The value is out of range.', 'Use a value in the range given in the message.'
    WRONG_LENGTH = 'wrong_length', 'The list or string is too short or too long.', 'Use a length in the allowed range.'
    WRONG_PATTERN = 'wrong_pattern', 'The string is malformed.', 'Use the form given in the message.'
    VALUES_EXCLUDE = 'values_exclude', 'Two or more values cannot be combined.', 'Remove all but one of them.'
    VALUES_INCOMPLETE = 'values_incomplete', 'Another value is required.', 'Add the value named in the message.'
    VALUE_INVALID = 'value_invalid', 'The value violates a rule.', 'Use a value that satisfies the rule in the message.'

    # Generation of seeds.
    TIME_LIMIT = (
        'time_limit',
        'The work takes longer than its time limit.',
        'Raise validation.time_limit_s, or choose settings that need less work.',
    )
    API_KEY_MISSING = 'api_key_missing', 'No API key is set.', 'Set MP_API_KEY to the key, or use the provider mp.'
    BOUNDARY_IMPOSSIBLE = 'boundary_impossible', 'No such grain boundary exists.', 'Use a listed axis and Σ.'
    CELL_TOO_SMALL = 'cell_too_small', 'The cell is too small.', 'Use a larger cell, or raise validation.max_atoms.'
    CHARGE_UNBALANCED = 'charge_unbalanced', 'The formal charges do not balance.', 'Change ions or oxidation states.'
    COMPOSITION_IMPOSSIBLE = (
        'composition_impossible',
        'The sites cannot have this composition.',
        'Use a larger cell, or the composition given in the message.',
    )
    COMPOSITION_INVALID = 'composition_invalid', 'The fractions are invalid.', 'Use positive fractions that sum to 1.'
    COVERAGE_IMPOSSIBLE = (
        'coverage_impossible',
        'No slab of the allowed size has this coverage.',
        'Use the coverage given in the message, or raise validation.max_atoms.',
    )
    DATABASE_UNREACHABLE = (
        'database_unreachable',
        'The database does not respond, or its response cannot be read.',
        'Check its name or address and the network, or use files instead of a query.',
    )
    DENSITY_IMPOSSIBLE = (
        'density_impossible',
        'The atoms or molecules cannot be packed at this density.',
        'Use another density, such as the one given in the message, or smaller distances.',
    )
    ELEMENTS_MISSING = (
        'elements_missing',
        'A file has numeric atom types instead of elements.',
        'Set lammps_types, or write the elements into the file.',
    )
    ELEMENT_UNKNOWN = 'element_unknown', 'No element has this symbol.', 'Use the symbol of an element, such as Fe.'
    FORMULA_INVALID = 'formula_invalid', 'This is not a chemical formula.', 'Write a formula such as Fe2O3.'
    HOST_UNSUITABLE = 'host_unsuitable', 'The entry under `of` makes unsuitable structures.', 'Change this entry.'
    INTERFACE_IMPOSSIBLE = (
        'interface_impossible',
        'The two crystals have no common cell within the limits.',
        'Raise max_strain, max_area_A2 or validation.max_atoms, or use other planes.',
    )
    MOLECULE_UNKNOWN = 'molecule_unknown', 'A name or SMILES string is invalid.', 'Correct it, or use a file.'
    OCCUPANCY_PARTIAL = (
        'occupancy_partial',
        'Sites of a structure in a file are partially occupied.',
        'Set `partial_occupancy: order` for CIF files, or use an ordered structure.',
    )
    PROTOTYPE_MISSING = 'prototype_missing', 'No structure type is known for the formula.', 'Set n_random above 0.'
    QUERY_EMPTY = 'query_empty', 'The query found no usable structure.', 'Widen the query.'
    QUERY_REFUSED = 'query_refused', 'The database refused the query.', 'Correct the query or the key.'
    QUERY_TOO_BROAD = 'query_too_broad', 'The query found too many structures.', 'Narrow it, or raise max_structures.'
    QUERY_UNANSWERED = 'query_unanswered', 'The query has not been answered yet.', 'Call answer_queries first.'
    SETTING_AMBIGUOUS = (
        'setting_ambiguous',
        'A CIF file has no symmetry operations, and its space group has several settings.',
        'Add the operations to the file.',
    )
    SEEDS_MISSING = 'seeds_missing', 'No valid seed was found for an entry.', 'Follow the advice in the message.'
    SITE_MISSING = 'site_missing', 'The structure has no such site.', 'Use another site or structure.'
    SITES_MISMATCH = 'sites_mismatch', 'The structure type does not have these sites.', 'Use the listed sites.'
    STRUCTURE_INVALID = (
        'structure_invalid',
        'A structure violates a validation rule.',
        'Change the entry, or relax the rule in its section `validation`.',
    )
    SPACEGROUP_IMPOSSIBLE = (
        'spacegroup_impossible',
        'This number of molecules cannot form a crystal with this space group.',
        'Change the space group or the number of molecules.',
    )
    STRUCTURE_UNUSABLE = 'structure_unusable', 'A structure in a file is invalid.', 'Correct the structure in the file.'
    SURFACES_POLAR = 'surfaces_polar', 'All terminations are polar.', 'Set `polar: allow`, or use other planes.'
    TOO_MANY_ATOMS = (
        'too_many_atoms',
        'The structure has too many atoms.',
        'Make it smaller, or raise validation.max_atoms.',
    )
    TOO_MANY_DEFECTS = 'too_many_defects', 'There are more defects than sites.', 'Use fewer defects or a larger cell.'

    # Calculators, models and jobs. A job reports the code in its result. The exit code is named after it, such as
    # ERROR_MODEL_MISSING. A code without a corresponding exit code becomes ERROR_SETTINGS_REFUSED.
    CALCULATOR_MISSING = 'calculator_missing', 'The calculator cannot be imported.', 'Install its package for the job.'
    CHECKPOINT_MISMATCH = 'checkpoint_mismatch', 'The checkpoint belongs to another job.', 'Remove it to start again.'
    CHECKPOINT_UNREADABLE = 'checkpoint_unreadable', 'The checkpoint is damaged.', 'Start again from the seed.'
    TRAINING_FAILED = 'training_failed', 'The trainer failed, or its loss is not finite.', 'Read `trainer.log`.'
    CONTRACT_VERSION = (
        'contract_version',
        'The job was made by a different version of the program.',
        'Install the same version of aiida-mlip-autopipe here and in the environment of the job.',
    )
    ELEMENT_UNSUPPORTED = (
        'element_unsupported',
        'The calculator or descriptor does not support an element.',
        'Use another calculator, or remove the element.',
    )
    ENVIRONMENT_CHANGED = (
        'environment_changed',
        'The environment differs from the recorded one.',
        'Restore the recorded one, or record the current one with `mlip-autopipe calculator test`.',
    )
    MODEL_MISMATCH = (
        'model_mismatch',
        'The sha256 of the model or of the image is not the expected one.',
        'Restore the file, or correct the expected sha256.',
    )
    MODEL_MISSING = (
        'model_missing',
        'The model is not on the computer, and its content is not stored.',
        'Copy the file there with `mlip-autopipe calculator place`.',
    )
    MODEL_NOT_LOADED = (
        'model_not_loaded',
        'The model does not exist or cannot be loaded.',
        'Correct calculator.model, or test the model with `mlip-autopipe calculator test`.',
    )
    SAMPLING = 'sampling', 'No frames can be selected.', 'Relax the limits of sampling, or run longer explorations.'
    SETTINGS_REFUSED = 'settings_refused', 'The settings of the job are not valid.', 'Correct the settings.'

    # Exploration.
    ENSEMBLE_IMPOSSIBLE = (
        'ensemble_impossible',
        'The structure cannot be explored in this ensemble.',
        'Set exploration.ensemble to auto.',
    )
    MOVE_IMPOSSIBLE = (
        'move_impossible',
        'The Monte Carlo move is not possible for this structure or in this ensemble.',
        'Remove the move, or change its settings.',
    )
    NOTHING_MOVES = 'nothing_moves', 'No atom of the structure can move.', 'Use a supercell, or fix fewer atoms.'
    STEP_MISSING = 'step_missing', 'The trajectory has no frame at this step.', 'Use one of its steps.'

    # Descriptors and sampling.
    CANDIDATES_MISSING = (
        'candidates_missing',
        'No frames are left to choose from.',
        'Relax the limits of sampling, or run longer explorations.',
    )
    COMMITTEE_MISSING = (
        'committee_missing',
        'No committee evaluated a frame.',
        'Set exploration.committee, or change the sampler.',
    )
    DESCRIPTORS_INVALID = 'descriptors_invalid', 'Some descriptors are not finite.', 'Use another descriptor or model.'
    DESCRIPTORS_MISSING = (
        'descriptors_missing',
        'Learned descriptors of some structures have not been computed.',
        'Run the selection in a campaign, or use the descriptor soap.',
    )
    STRUCTURES_MISSING = 'structures_missing', 'The file contains no structures.', 'Use a file with structures.'
    TRAINING_SET_EMPTY = (
        'training_set_empty',
        'All frames are held out, so none is left for training.',
        'Hold out fewer kinds, or add seeds of other kinds.',
    )

    # Storage and reports.
    CALCULATION_CHANGED = 'calculation_changed', 'A DFT calculation differs from its inputs.', 'Run them unchanged.'
    CALCULATION_INCOMPLETE = 'calculation_incomplete', 'A DFT calculation has incomplete results.', 'Run it again.'
    CALCULATION_MISMATCH = (
        'calculation_mismatch',
        'A DFT calculation belongs to another row or structure.',
        'Use the dataset for which the inputs were written, and run the inputs unchanged.',
    )
    CALCULATION_MISSING = 'calculation_missing', 'A DFT calculation was not run.', 'Run it in the folder of its inputs.'
    CALCULATION_TWICE = 'calculation_twice', 'Two DFT calculations belong to the same frame.', 'Remove one of them.'
    CALCULATION_UNCONVERGED = (
        'calculation_unconverged',
        'The SCF cycle of a DFT calculation did not converge.',
        'Change the settings of the DFT code and run it again, or leave out the row with `--skip-failed`.',
    )
    DATASET_EMPTY = 'dataset_empty', 'The dataset has no rows.', 'Use a dataset that has rows.'
    IMPORT_INCOMPLETE = 'import_incomplete', 'Frames lack valid labels.', 'Correct them, or use `--skip-invalid`.'
    FOLDER_EXISTS = 'folder_exists', 'The output folder already exists.', 'Choose another name.'
    FRAME_TWICE = 'frame_twice', 'Two rows contain the same frame.', 'Remove one, or process them separately.'
    FRAMES_DIFFER = (
        'frames_differ',
        'Two datasets contain the same frame with different structures or labels.',
        'Keep the correct dataset, or compute the labels again.',
    )
    LABELS_INCOMPLETE = (
        'labels_incomplete',
        'Some rows have no valid DFT calculation.',
        'Correct the calculations listed in the message, or leave out their rows with `--skip-failed`.',
    )
    LABELS_AMBIGUOUS = 'labels_ambiguous', 'Several keys match the label.', 'Use an option such as `--energy-key`.'
    LABELS_IMPLAUSIBLE = 'labels_implausible', 'A net force or an energy is implausible.', 'Repeat the calculation.'
    LABELS_MALFORMED = 'labels_malformed', 'A label has the wrong shape.', 'Name another key, or correct the file.'
    LABELS_UNIT = 'labels_unit', 'The unit or sign of labels is probably wrong.', 'Set the option named in the message.'
    LABELS_MISSING = 'labels_missing', 'Labels are missing or are not finite.', 'Compute the labels again.'
    LABELS_OUTDATED = 'labels_outdated', 'The structure was changed after it was labelled.', 'Compute the labels again.'
    LEVELS_MIXED = 'levels_mixed', 'The rows have different levels of theory.', 'Write one file for each level.'
    ROW_KEY_MISSING = (
        'row_key_missing',
        'A row lacks a required key, such as its seed or its parent.',
        'Use the dataset of a campaign, or split by composition.',
    )
    ROW_MISSING = 'row_missing', 'The dataset has no such row.', 'Use the id of one of its rows.'
    ROW_REFUSED = 'row_refused', 'The database refuses a row.', 'Correct the key or value named in the message.'
    SELECTION_MALFORMED = 'selection_malformed', 'A selection of rows is malformed.', 'Correct its syntax.'
    SETS_OVERLAP = 'sets_overlap', 'Two sets share a group or a structure.', 'Draw new sets with `--by parent`.'
    SPLIT_EMPTY = 'split_empty', 'A set would be empty.', 'Use fewer sets or smaller groups.'

    # AiiDA: profile, computers, codes and campaigns.
    ARCHIVE_UNREADABLE = 'archive_unreadable', 'The file is not an AiiDA archive, or is damaged.', 'Copy it again.'
    ARCHIVE_UNSAFE = 'archive_unsafe', 'The archive has paths outside it, or active processes.', 'Do not use it.'
    ARCHIVE_VERSION = (
        'archive_version',
        'AiiDA cannot read this version of the archive format.',
        'Migrate an older archive with `verdi archive migrate`; for a newer one, update AiiDA.',
    )
    BROKER_MISSING = 'broker_missing', 'The profile has no broker.', 'Add one with the command given in the message.'
    CAMPAIGN_CHANGED = (
        'campaign_changed',
        'Codes, models or environments have changed.',
        'Undo the changes, or run the config again.',
    )
    CAMPAIGN_ENDED = 'campaign_ended', 'The campaign has already ended.', 'If it did not finish, `resume` continues it.'
    CAMPAIGN_FAILED = 'campaign_failed', 'The campaign failed.', 'Fix the reported cause.'
    CAMPAIGN_MISSING = 'campaign_missing', 'No such campaign exists.', 'List all campaigns with `mlip-autopipe status`.'
    CAMPAIGN_RESUMING = 'campaign_resuming', 'Another process is resuming the campaign.', 'Wait until it ends.'
    CAMPAIGN_RUNNING = 'campaign_running', 'The campaign is still running.', 'Wait until it ends, or stop it.'
    CHECKOUT_MISSING = 'checkout_missing', 'This command needs a checkout of the project.', 'Clone the repository.'
    CODE_AMBIGUOUS = 'code_ambiguous', 'Several codes have this label.', 'Write it as label@computer.'
    CODE_BROKEN = 'code_broken', 'The program of the code does not run.', 'Correct its path, or register it again.'
    CODE_MISSING = 'code_missing', 'No such code exists.', 'Use a code listed in the message, or create one.'
    CODE_WITHOUT_CALCULATOR = (
        'code_without_calculator',
        'The calculator of the code is unknown.',
        'Use `--config` with a config in which a calculator uses the code.',
    )
    COMPUTER_EXISTS = 'computer_exists', 'Another computer has this name.', 'Use another name, or delete that computer.'
    COMPUTER_MISSING = (
        'computer_missing',
        'The computer does not exist or is not configured.',
        'Add it with `mlip-autopipe computer add`.',
    )
    COMPUTER_TEST_FAILED = 'computer_test_failed', 'A test of the computer failed.', 'Fix the reported cause.'
    DAEMON_FAILED = 'daemon_failed', 'The daemon does not start.', 'Read its log: `verdi daemon logshow`.'
    DATASET_DAMAGED = (
        'dataset_damaged',
        'The file of the dataset is damaged in the profile.',
        'Restore the profile from a backup, or import an archive of the campaign into a new one.',
    )
    DATASET_MISSING = 'dataset_missing', 'The campaign has no dataset.', 'Check its state with `mlip-autopipe status`.'
    ENVIRONMENT_MISSING = (
        'environment_missing',
        'The environment of the code is not recorded.',
        'Record it with the command given in the message.',
    )
    EXTENSION_EMPTY = 'extension_empty', 'An extension changes nothing.', 'Override a setting, or use `resume`.'
    GPU_MISSING = 'gpu_missing', 'The self-test found no GPU.', 'Request a GPU for it, or set calculator.device.'
    HOST_KEY_UNKNOWN = 'host_key_unknown', 'The host key is unknown.', 'Log in once with ssh and accept the key.'
    HOST_UNKNOWN = 'host_unknown', 'The host name is unknown.', 'Correct it, or add a Host entry to ~/.ssh/config.'
    HOST_UNREACHABLE = 'host_unreachable', 'The host does not respond.', 'Check the host, the port and the VPN.'
    IMAGE_MISMATCH = 'image_mismatch', 'The job ran in a different image.', 'Register the code again with its image.'
    IMAGE_MISSING = 'image_missing', 'The image is missing or unreadable.', 'Correct its path.'
    INSTALLATION_FAILED = (
        'installation_failed',
        'The environment or the image could not be built.',
        'Correct the error that pip or the build reports.',
    )
    JOB_PAUSED = 'job_paused', 'AiiDA or a user has paused the job.', 'Fix the cause and try again.'
    JOB_TIMEOUT = 'job_timeout', 'The job did not finish in time.', 'Allow more time, or choose another queue.'
    LOGIN_OUTPUT = 'login_output', 'The login scripts print text.', 'Print text only in interactive shells.'
    LOGIN_REFUSED = 'login_refused', 'The host refused the login.', 'Set up a login with an SSH key.'
    ORIGIN_MISSING = 'origin_missing', 'The frame is not in the profile.', 'Import the archive of its campaign.'
    ORIGIN_UNKNOWN = 'origin_unknown', 'The row does not record its origin.', 'Use a row of a campaign.'
    PROFILE_MISSING = 'profile_missing', 'No such AiiDA profile exists.', 'Create it with `mlip-autopipe setup`.'
    SCHEDULER_MISSING = 'scheduler_missing', 'The computer lacks this scheduler.', 'Choose an installed scheduler.'
    SELF_TEST_FAILED = 'self_test_failed', 'The self-test failed.', 'Fix the reported cause.'
    TRANSFER_DAMAGED = 'transfer_damaged', 'The copy of a file differs from the original.', 'Try again.'
    VERSION_MISMATCH = 'version_mismatch', 'The code uses another version of this package.', 'Install the same version.'
    WORKDIR_UNWRITABLE = 'workdir_unwritable', 'The work directory cannot be created.', 'Choose another one.'
