//! The `quell` command: parse, run, exit code.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(quell::cli::main())
}
