//! The patterns of `exclude`: names and paths in which `*` stands for anything but `/`.

/// A pattern with a slash names a path from the root, one without names a file or folder anywhere.
pub fn fits(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_matches('/');
    if pattern.contains('/') {
        let (p, n): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), name.split('/').collect());
        p.len() == n.len() && p.iter().zip(&n).all(|(p, n)| fits_part(p.as_bytes(), n.as_bytes()))
    } else {
        fits_part(pattern.as_bytes(), name.rsplit('/').next().unwrap_or(name).as_bytes())
    }
}

fn fits_part(pattern: &[u8], name: &[u8]) -> bool {
    // Where the last star stood, and how much of the name it has taken: one step back is enough for stars alone.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_are_names_or_paths() {
        for (pattern, name, is) in [
            ("*.log", "a/b.log", true),
            ("*.log", "b.logs", false),
            ("docs", "docs", true),
            ("docs/", "x/docs", true),
            ("a/*.py", "a/x.py", true),
            ("a/*.py", "b/a/x.py", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab_a", false),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, name), is, "{pattern} {name}");
        }
    }
}
