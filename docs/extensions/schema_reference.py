"""Render the reference of a settings model from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

UNIONS = ('anyOf', 'oneOf', 'allOf')
BOUNDS = {
    'minimum': '≥',
    'exclusiveMinimum': '>',
    'maximum': '≤',
    'exclusiveMaximum': '<',
    'minItems': 'entries ≥',
    'maxItems': 'entries ≤',
    'pattern': 'matches',
}


class SchemaReference:
    """Render a JSON schema as Markdown: one section per model, one entry per field.

    Parameters
    ----------
    schema
        The JSON schema of a pydantic model.

    Attributes
    ----------
    undocumented
        Paths of the fields without a docstring, filled by `render`.
    """

    def __init__(self, schema: Schema):
        self.schema = schema
        self.models: dict[str, Schema] = schema.get('$defs', {})
        self.undocumented: list[str] = []

    def render(self) -> str:
        """Return all sections. A model with several paths is described at the first one."""
        sections = [self._describe(self.schema, '')]
        described: set[str] = set()
        queue = list(_referenced_models(self.schema, ''))
        while queue:
            name, path = queue.pop(0)
            if name in described:
                continue
            described.add(name)
            model = self.models[name]
            kind = _kind(model)
            heading = f'## `{path}`' + (f' of kind `{kind}`' if kind else '')
            sections.append(f'({_label(name)})=\n{heading}\n\n{self._describe(model, path)}')
            queue[:0] = _referenced_models(model, path)
        return '\n\n'.join(sections) + '\n'

    def _describe(self, model: Schema, path: str) -> str:
        entries = [
            self._entry(field, f'{path}.{name}' if path else name, name in model.get('required', ()))
            for name, field in model.get('properties', {}).items()
            if 'const' not in field  # the kind is in the heading
        ]
        return '\n\n'.join([model.get('description', ''), *entries]).strip()

    def _entry(self, field: Schema, path: str, required: bool) -> str:
        facts = [self._type_of(field)]
        if required:
            facts.append('**required**')
        elif field.get('default', ...) is None:
            facts.append('optional')
        elif 'default' in field and not self._has_defaults_of_models(field):
            facts.append(f'default `{json.dumps(field["default"], ensure_ascii=False)}`')
        facts += [', '.join(bounds)] if (bounds := dict.fromkeys(_bounds(field))) else []
        text = ' '.join(self._description(field).split())
        if not text:
            self.undocumented.append(path)
        return f'`{path}`\n: {" · ".join(facts)}\n\n  {text}'

    def _description(self, field: Schema) -> str:
        # Pydantic omits the description of a field if its model has the same one.
        if 'description' not in field and '$ref' in field:
            return self.models[_name(field)].get('description', '')
        return field.get('description', '')

    def _has_defaults_of_models(self, field: Schema) -> bool:
        return isinstance(field['default'], dict) and any(True for _ in _references(field))

    def _type_of(self, field: Schema) -> str:
        if '$ref' in field:
            name = _name(field)
            return f'[{_kind(self.models[name]) or "mapping"}](#{_label(name)})'
        if 'enum' in field or 'const' in field:
            return ' or '.join(f'`{json.dumps(value)}`' for value in field.get('enum', [field.get('const')]))
        for union in UNIONS:
            if union in field:
                options = (self._type_of(option) for option in field[union] if option.get('type') != 'null')
                return ' or '.join(dict.fromkeys(options))
        if 'prefixItems' in field:
            return f'list [{", ".join(self._type_of(item) for item in field["prefixItems"])}]'
        if field.get('type') == 'array':
            return f'list of {self._type_of(field.get("items", {}))}'
        if isinstance(field.get('additionalProperties'), dict):
            return f'mapping of names to {self._type_of(field["additionalProperties"])}'
        return {'object': 'mapping', None: 'any'}.get(field.get('type'), str(field.get('type')))


def _name(field: Schema) -> str:
    return str(field['$ref']).rsplit('/', 1)[-1]


def _kind(model: Schema) -> str | None:
    kind: str | None = model.get('properties', {}).get('kind', {}).get('const')
    return kind


def _label(name: str) -> str:
    return f'config-{name.lower()}'


def _bounds(field: Schema) -> Iterator[str]:
    if 'prefixItems' not in field:
        yield from (f'{sign} `{field[key]}`' for key, sign in BOUNDS.items() if key in field)
    parts = [option for union in UNIONS for option in field.get(union, ())]
    for part in [*parts, *_values(field)]:
        yield from _bounds(part)


def _values(field: Schema) -> list[Schema]:
    """Return the schemas of the values of a list or mapping."""
    return [part for part in (field.get('items'), field.get('additionalProperties')) if isinstance(part, dict)]


def _references(field: Schema) -> Iterator[tuple[str, str]]:
    """Yield each model that a field refers to, with the suffix of its path, such as ``[]`` for a list."""
    if '$ref' in field:
        yield _name(field), ''
    for union in UNIONS:
        for option in field.get(union, ()):
            yield from _references(option)
    for part in _values(field):
        for name, suffix in _references(part):
            yield name, ('[]' if part is field.get('items') else '.*') + suffix


def _referenced_models(model: Schema, path: str) -> Iterator[tuple[str, str]]:
    for name, field in model.get('properties', {}).items():
        for reference, suffix in _references(field):
            yield reference, f'{path}.{name}{suffix}' if path else f'{name}{suffix}'
