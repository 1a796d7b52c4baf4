//! Passwords, codes and keys: asked for on the terminal, or read from a file or standard input;
//! never taken from the command line, where other people on the machine can see them. (A
//! registration code may be given there: it is worth nothing once it is used.)

use std::{
    fs::File,
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use zeroize::Zeroizing;

use crate::profile::Ask;

/// Longest secret, in bytes.
pub const MAX_SECRET_BYTES: u64 = 4_096;

/// Where a secret comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The first line of a file.
    File(&'a Path),
    /// One line of standard input.
    Stdin,
    /// The person at the terminal.
    Terminal,
}

impl<'a> Source<'a> {
    /// The file if one is named, else standard input if that was asked for, else the terminal.
    pub fn of(file: Option<&'a Path>, stdin: bool) -> Self {
        match (file, stdin) {
            (Some(file), _) if file.as_os_str() == "-" => Self::Stdin,
            (Some(file), _) => Self::File(file),
            (None, true) => Self::Stdin,
            (None, false) => Self::Terminal,
        }
    }

    /// Reads the secret called `what`, such as “password”.
    ///
    /// # Errors
    ///
    /// If it is empty or too long, or there is nobody to ask.
    pub fn read(self, what: &str) -> Result<Zeroizing<String>> {
        let secret = match self {
            Self::File(path) => {
                let unreadable = || format!("the file {} cannot be read", path.display());
                first_line(File::open(path).with_context(unreadable)?).with_context(unreadable)?
            }
            Self::Stdin => line_of_stdin()?,
            Self::Terminal => ask(what, &format!("{}: ", capitalised(what)))?,
        };
        if secret.is_empty() {
            bail!("the {what} is empty")
        } else {
            Ok(secret)
        }
    }

    /// Reads a secret that is being chosen: on the terminal it is asked for twice.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and if the two differ.
    pub fn read_new(self, what: &str) -> Result<Zeroizing<String>> {
        let secret = self.read(what)?;
        if matches!(self, Self::Terminal) && ask(what, &format!("Repeat the {what}: "))? != secret {
            bail!("the two are not the same; try again");
        }
        Ok(secret)
    }
}

/// One line of standard input, without its end.
///
/// # Errors
///
/// If standard input is closed or holds no text.
pub fn line_of_stdin() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    let mut stdin = io::stdin().lock().take(MAX_SECRET_BYTES);
    stdin
        .read_line(&mut line)
        .context("standard input cannot be read")?;
    Ok(Zeroizing::new(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// Asks on the terminal for the passphrase of a profile.
#[derive(Clone, Copy, Debug)]
pub struct Terminal;

impl Ask for Terminal {
    fn passphrase(&self) -> Result<Zeroizing<String>> {
        Source::Terminal.read("passphrase of this profile")
    }

    fn new_passphrase(&self) -> Result<Zeroizing<String>> {
        Source::Terminal.read_new("passphrase for this profile")
    }
}

fn ask(what: &str, prompt: &str) -> Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        bail!(
            "there is no terminal to ask for the {what}; give it in a file or on standard input, see --help"
        );
    }
    let secret = rpassword::prompt_password(prompt).context("the terminal cannot be read")?;
    Ok(Zeroizing::new(secret.trim().to_owned()))
}

fn first_line(file: File) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SECRET_BYTES).read_to_string(&mut text)?;
    Ok(Zeroizing::new(
        text.lines().next().unwrap_or_default().to_owned(),
    ))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_password_file_is_read_up_to_its_first_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        fs::write(&file, "correct horse \nsomething else\n").unwrap();
        assert_eq!(
            *Source::of(Some(&file), false).read("password").unwrap(),
            "correct horse "
        );
        fs::write(&file, "\n").unwrap();
        let error = Source::File(&file)
            .read("password")
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the password is empty");
        assert!(
            Source::File(&dir.path().join("absent"))
                .read("password")
                .is_err()
        );
    }

    #[test]
    fn the_dash_means_standard_input() {
        assert!(matches!(
            Source::of(Some(Path::new("-")), false),
            Source::Stdin
        ));
        assert!(matches!(Source::of(None, true), Source::Stdin));
        assert!(matches!(Source::of(None, false), Source::Terminal));
    }
}
