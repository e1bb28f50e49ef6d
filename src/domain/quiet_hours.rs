//! When a person may be written to: weekly hours, presets, and the next allowed minute.
