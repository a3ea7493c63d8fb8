//! A question at the terminal whose answer is not shown.

use super::problem::{Doing, Exit, Problem};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::{
    fs::File,
    io::{Read, Write},
};

/// The longest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What keys send that mean something, once the terminal itself gives them no meaning.
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: [u8; 2] = [8, 127];
const KILL: u8 = 21;

/// Ask at the terminal of this process, whatever its standard input is, and read one line.
pub fn ask(question: &str) -> Result<String, Problem> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").doing("there is no terminal to ask at")?;
    let read = {
        // First: whoever sees the question can type.
        let _hidden = Hidden::of(&terminal).doing("the terminal can't be kept from showing what is typed")?;
        (&terminal).write_all(question.as_bytes()).doing("the terminal can't be written to")?;
        line(&mut std::iter::from_fn(|| byte(&terminal)))
    };
    // The end of the line was not shown either.
    let _ = terminal.write_all(b"\n");
    let line = read.doing("the answer can't be read")?.ok_or_else(|| Problem::new(Exit::Failed, "nothing was answered"))?;
    String::from_utf8(line).doing("the answer is not UTF-8")
}

/// The next byte that is typed, as soon as it is.
fn byte(mut terminal: &File) -> Option<std::io::Result<u8>> {
    let mut byte = [0];
    loop {
        match terminal.read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => return Some(Ok(byte[0])),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Some(Err(e)),
        }
    }
}

/// What was typed until the line's end; nothing when it was broken off.
fn line(typed: &mut dyn Iterator<Item = std::io::Result<u8>>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    for byte in typed {
        match byte? {
            b'\n' | b'\r' => return Ok(Some(line)),
            INTERRUPT => return Ok(None),
            END => return Ok((!line.is_empty()).then_some(line)),
            KILL => line.clear(),
            byte if BACKSPACE.contains(&byte) => {
                // A letter may have several bytes.
                while line.pop().is_some_and(|b| b & 0b1100_0000 == 0b1000_0000) {}
            }
            byte if line.len() < ANSWER_BYTES_MAX => line.push(byte),
            _ => return Err(std::io::Error::other(format!("it has more than {ANSWER_BYTES_MAX} bytes"))),
        }
    }
    Ok(None)
}

/// Nothing that is typed is shown until this goes; nor does a key end the process meanwhile, which would leave the terminal so.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn of(terminal: &'a File) -> std::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        (quiet.special_codes[SpecialCodeIndex::VMIN], quiet.special_codes[SpecialCodeIndex::VTIME]) = (1, 0);
        // What was typed ahead of the question is not its answer.
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_they_mean_at_a_terminal() {
        let typed = |text: &[u8]| line(&mut text.iter().map(|b| Ok(*b))).unwrap().map(|l| String::from_utf8(l).unwrap());
        assert_eq!(typed(b"word\nrest"), Some("word".into()));
        assert_eq!(typed("wü\u{7f}ord\r".as_bytes()), Some("word".into()));
        assert_eq!(typed(b"\x7f\x08ab\x15word\n"), Some("word".into()));
        assert_eq!(typed(b"word\x04"), Some("word".into()));
        for none in [&b"word\x03\n"[..], b"\x04", b"", b"word"] {
            assert_eq!(typed(none), None, "{none:?}");
        }
        let long = std::iter::repeat_with(|| Ok(b'x')).take(ANSWER_BYTES_MAX + 1).collect::<Vec<_>>();
        assert!(line(&mut long.into_iter()).is_err());
    }
}
