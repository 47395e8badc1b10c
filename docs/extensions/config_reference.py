"""The reference of the config file, rendered from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

BOUNDS = {
    'minimum': '≥',
    'exclusiveMinimum': '>',
    'maximum': '≤',
    'exclusiveMaximum': '<',
    'minLength': 'characters ≥',
    'maxLength': 'characters ≤',
    'minItems': 'entries ≥',
    'maxItems': 'entries ≤',
    'pattern': 'matches',
}


def render_config_reference(schema: Schema) -> tuple[str, list[str]]:
    """Return the reference as Markdown, and the path of each field that says nothing of itself.

    Parameters
    ----------
    schema
        The JSON schema of the whole config.
    """
    models = schema.get('$defs', {})
    # The path in the file by which a model is reached first; one that is reached again is described once.
    paths: dict[str, str] = {}
    sections = [_describe(schema, '')]
    undocumented = [name for name, field in schema['properties'].items() if not field.get('description')]
    queue = list(_reached(schema, ''))
    while queue:
        name, path = queue.pop(0)
        if name in paths:
            continue
        paths[name] = path
        model = models[name]
        sections.append(f'({_label(name)})=\n## {_heading(model, path)}\n\n' + _describe(model, path))
        undocumented += [f'{path}.{key}' for key, field in model.get('properties', {}).items() if _is_bare(field)]
        queue[:0] = _reached(model, path)
    return '\n\n'.join(sections) + '\n', undocumented


def _is_bare(field: Schema) -> bool:
    # The const is the kind itself, which the heading says.
    return not field.get('description') and 'const' not in field


def _describe(model: Schema, path: str) -> str:
    parts = [model.get('description', '')]
    for name, field in model.get('properties', {}).items():
        facts = [_type_of(field)]
        if name in model.get('required', ()):
            facts.append('**required**')
        elif 'default' in field and not _is_model_default(field):
            facts.append(f'default `{json.dumps(field["default"], ensure_ascii=False)}`')
        bounds = ', '.join(dict.fromkeys(_bounds(field)))
        facts += [bounds] if bounds else []
        text = ' '.join(field.get('description', '').split())
        parts.append(
            f'`{path + "." if path else ""}{name}`\n: {" · ".join(facts)}\n' + (f'\n  {text}\n' if text else '')
        )
    return '\n\n'.join(part for part in parts if part)


def _is_model_default(field: Schema) -> bool:
    # The default of a nested model is the sum of its fields' defaults, told there.
    return isinstance(field['default'], dict) and any(True for _ in _references(field))


def _heading(model: Schema, path: str) -> str:
    kind = model.get('properties', {}).get('kind', {}).get('const')
    return f'`{path}`' + (f' of kind `{kind}`' if kind else '')


def _label(name: str) -> str:
    return f'config-{name.lower()}'


def _type_of(field: Schema) -> str:
    if '$ref' in field:
        name = field['$ref'].rsplit('/', 1)[-1]
        return f'[{name}](#{_label(name)})'
    if 'const' in field:
        return f'`{json.dumps(field["const"])}`'
    if 'enum' in field:
        return ' or '.join(f'`{json.dumps(value)}`' for value in field['enum'])
    for union in ('anyOf', 'oneOf', 'allOf'):
        if union in field:
            return ' or '.join(dict.fromkeys(_type_of(option) for option in field[union]))
    if field.get('type') == 'array':
        if 'prefixItems' in field:
            return f'list of {" , ".join(_type_of(item) for item in field["prefixItems"])}'
        return f'list of {_type_of(field.get("items", {}))}'
    if field.get('type') == 'object':
        values = field.get('additionalProperties')
        return f'mapping to {_type_of(values)}' if isinstance(values, dict) else 'mapping'
    return str(field.get('type', 'any'))


def _bounds(field: Schema) -> Iterator[str]:
    for key, sign in BOUNDS.items():
        if key in field:
            yield f'{sign} `{field[key]}`'
    for union in ('anyOf', 'oneOf', 'allOf'):
        for option in field.get(union, ()):
            yield from _bounds(option)
    if isinstance(field.get('items'), dict):
        yield from _bounds(field['items'])


def _references(field: Schema) -> Iterator[tuple[str, str]]:
    """Yield each model a field refers to, with what its path adds: ``[]`` in a list."""
    if '$ref' in field:
        yield field['$ref'].rsplit('/', 1)[-1], ''
    for union in ('anyOf', 'oneOf', 'allOf'):
        for option in field.get(union, ()):
            yield from _references(option)
    if isinstance(field.get('items'), dict):
        for name, suffix in _references(field['items']):
            yield name, '[]' + suffix
    if isinstance(field.get('additionalProperties'), dict):
        for name, suffix in _references(field['additionalProperties']):
            yield name, '.*' + suffix


def _reached(model: Schema, path: str) -> Iterator[tuple[str, str]]:
    for name, field in model.get('properties', {}).items():
        for reference, suffix in _references(field):
            yield reference, f'{path + "." if path else ""}{name}{suffix}'
