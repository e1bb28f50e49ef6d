//! Message templates: `{name}` placeholders, checked once and rendered per person.
