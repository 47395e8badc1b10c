"""The files of trainers: the checkpoints of SevenNet, and the models, checkpoints and logs of MACE."""
