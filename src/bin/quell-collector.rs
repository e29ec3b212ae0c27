//! quell's collector: runs beside the suspect process, reads it from outside, and speaks frames on standard output.

fn main() -> std::process::ExitCode {
    quell::collector::main()
}
