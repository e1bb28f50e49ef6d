//! One file per subcommand of `ese`.

pub mod simulate;
