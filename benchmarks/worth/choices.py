"""The samplers that are compared, with settings as in a config."""

FPS, ENVIRONMENT = {'kind': 'fps'}, {'kind': 'environment'}
RANDOM, STRIDE = {'kind': 'random'}, {'kind': 'stride'}


def strata(by, within):
    """Return the settings of a stratified sampler."""
    return {'kind': 'stratified', 'by': by, 'within': within}


def halves(*samplers):
    """Return the settings of a mix with equal parts."""
    return {'kind': 'mix', 'parts': [{'fraction': 1, 'sampler': sampler} for sampler in samplers]}


CHOICES = {
    'random': RANDOM,
    'stride': STRIDE,
    'fps': FPS,
    'direct': {'kind': 'direct'},
    'environment': ENVIRONMENT,
    'environment, clusters of all': {'kind': 'environment', 'clusters_per_group': False},
    # The committee is EMT, with which the frames were explored, and SevenNet, which computed the labels.
    'disagreement': {'kind': 'disagreement'},
    'stratified by temperature, fps': strata('temperature', FPS),
    'stratified by temperature, stride': strata('temperature', STRIDE),
    'stratified by temperature, random': strata('temperature', RANDOM),
    'stratified by energy, fps': strata('energy', FPS),
    'stratified by energy, stride': strata('energy', STRIDE),
    'stratified by kind, fps': strata('kind', FPS),
    'stratified by kind, stride': strata('kind', STRIDE),
    'mix of fps and random': halves(FPS, RANDOM),
    'mix of fps and stride': halves(FPS, STRIDE),
    'mix of environment and random': halves(ENVIRONMENT, RANDOM),
    'mix of environment and stride': halves(ENVIRONMENT, STRIDE),
}
