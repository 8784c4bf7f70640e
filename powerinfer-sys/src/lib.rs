//! Raw bindings to the native core.
