//! `quell completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Ended, print_text};

/// Arguments.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// The script for one shell.
pub fn script(shell: Shell) -> String {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quell", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

pub(super) fn completions(args: &CompletionsArgs) -> Ended {
    print_text(&script(args.shell));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_scripts_are_what_the_generator_makes() {
        for (shell, file) in [(Shell::Bash, "quell.bash"), (Shell::Zsh, "_quell"), (Shell::Fish, "quell.fish")] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(file);
            let made = script(shell);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &made).unwrap();
            }
            let shipped = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(shipped == made, "completions/{file} is out of date: UPDATE=1 cargo test completions");
        }
    }
}
