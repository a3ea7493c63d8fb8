//! Text that somebody else chose (a log line, a name, an error) on its way to a terminal. What a terminal would obey instead of
//! show is taken out: control characters of both sets, whole escape sequences with their arguments, and the marks that
//! reorder a line as it is displayed.

use std::borrow::Cow;

const ESC: char = '\u{1b}';
const STRING_END: char = '\u{9c}';
const BELL: char = '\u{7}';

/// The text without anything that a terminal would obey, save line breaks and tabs.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ESC => match rest.next() {
                Some('[') => skip_control(&mut rest),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
                // Character-set choices carry intermediate bytes before the last one (ECMA-35, 13.2.1).
                Some(' '..='/') => {
                    while rest.next_if(|c| matches!(c, ' '..='/')).is_some() {}
                    rest.next_if(|c| matches!(c, '0'..='~'));
                }
                _ => {}
            },
            '\u{9b}' => skip_control(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            c if harmless(c) => kept.push(c),
            _ => {}
        }
    }
    Cow::Owned(kept)
}

/// The same for one cell of a table or one line of a report: breaks and tabs become spaces.
pub fn clean_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

fn harmless(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        // Directional overrides, embeddings and isolates.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => !c.is_control(),
    }
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Parameters and intermediates up to the final byte (ECMA-48, 5.4).
fn skip_control(rest: &mut Rest<'_>) {
    while rest.next_if(|c| matches!(c, '\u{20}'..='\u{3f}')).is_some() {}
    rest.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
}

/// A command string up to its terminator; one that never ends takes its line with it, not the text after.
fn skip_string(rest: &mut Rest<'_>) {
    while let Some(c) = rest.next_if(|c| *c != '\n') {
        match c {
            BELL | STRING_END => return,
            ESC if rest.next_if_eq(&'\\').is_some() => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    /// H89: nothing that a function writes moves the cursor, sets a title, or reaches the clipboard.
    #[test]
    fn what_a_terminal_would_obey_is_gone_and_the_words_stay() {
        for (from, to) in [
            ("plain", "plain"),
            ("tab\tand\nbreak", "tab\tand\nbreak"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[1;1Hgone", "gone"),
            ("\u{1b}]52;c;ZXZpbA==\u{7}clip", "clip"),
            ("\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9b}31mC1\u{9d}0;title\u{9c}!", "C1!"),
            ("\u{1b}Pq#0\u{1b}\\sixel", "sixel"),
            ("\u{1b}(0lqk", "lqk"),
            ("\u{1b}creset", "reset"),
            ("over\rwritten\u{8}\u{7f}", "overwritten"),
            ("\u{202e}desrever", "desrever"),
            ("\u{1b}]0;never ends\nnext line", "\nnext line"),
            ("ends in \u{1b}", "ends in "),
            ("ends in \u{1b}[", "ends in "),
            ("grüße 你好 🦜", "grüße 你好 🦜"),
        ] {
            assert_eq!(clean(from), to, "{from:?}");
        }
    }

    #[test]
    fn nothing_obeyed_survives_any_mixture() {
        let pieces = ["\u{1b}", "[", "]", "P", "m", "\u{9b}", "\u{9c}", "\u{7}", "\\", "3", ";", "a", "\n", "\u{1b}\u{1b}"];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    for d in pieces {
                        let text = format!("{a}{b}{c}{d}x");
                        let shown = clean(&text);
                        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{text:?} → {shown:?}");
                    }
                }
            }
        }
    }
}
