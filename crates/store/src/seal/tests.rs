//! What a changed, moved or foreign text and a wrong key come to.

use super::*;
use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
};

struct Home {
    home: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("state")).unwrap();
        Self { home }
    }
    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }
    fn source(&self) -> Source {
        Source::Folder(self.home.path().join("config"))
    }
    fn open(&self) -> Arc<Seal> {
        Seal::open(&self.state(), &self.source()).unwrap()
    }
    fn refusal(&self, source: &Source) -> String {
        Seal::open(&self.state(), source).expect_err("refused").to_string()
    }
    fn key_file(&self) -> PathBuf {
        fs::read_dir(self.home.path().join("config/keys")).unwrap().next().unwrap().unwrap().path()
    }
}

fn label<'a>(tenant: &'a str, kind: &'a str, name: &'a str) -> Label<'a> {
    Label { tenant, kind, name }
}

#[test]
fn a_text_opens_where_it_was_sealed_and_nowhere_else() {
    let home = Home::new();
    let seal = home.open();
    let here = label("a", "fn", "x");
    let sealed = seal.seal(here, b"marker-of-the-test").unwrap();
    assert_eq!(sealed.len(), 18 + OVERHEAD);
    assert!(!sealed.windows(6).any(|w| w == b"marker"));
    assert_eq!(seal.open_text(here, &sealed).unwrap(), b"marker-of-the-test");
    // The next start, which has another run's salt.
    assert_eq!(home.open().open_text(here, &sealed).unwrap(), b"marker-of-the-test");
    // Tenant b has a key of its own, and still may not have it.
    seal.seal(label("b", "fn", "x"), b"").unwrap();
    for there in [label("b", "fn", "x"), label("a", "fm", "x"), label("a", "fn", "y"), label("a", "f", "nx")] {
        assert_eq!(seal.open_text(there, &sealed), Err(Refused::Changed));
    }
    for at in 4..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        let why = seal.open_text(here, &flipped).unwrap_err();
        assert!(matches!(why, Refused::Changed | Refused::Unknown(_)), "byte {at}: {why}");
    }
}

#[test]
fn what_is_plain_or_torn_is_refused_once_everything_is_sealed() {
    let home = Home::new();
    let seal = home.open();
    let here = label("a", "fn", "x");
    assert_eq!(seal.open_text(here, b"{}").unwrap(), b"{}");
    let sealed = seal.seal(here, b"12345").unwrap();
    seal.finished().unwrap();
    assert_eq!(seal.open_text(here, b"{}"), Err(Refused::Plain));
    for cut in 0..sealed.len() {
        assert!(seal.open_text(here, &sealed[..cut]).is_err());
    }
}

#[test]
fn no_two_texts_are_sealed_alike() {
    let home = Home::new();
    let mut heads = std::collections::HashSet::new();
    for _ in 0..3 {
        let seal = home.open();
        for _ in 0..100 {
            assert!(heads.insert(seal.seal(label("a", "k", "n"), b"same").unwrap()[4..HEAD].to_vec()));
        }
    }
}

#[test]
fn old_generations_open_until_they_are_finished() {
    let home = Home::new();
    let seal = home.open();
    let here = label("a", "fn", "x");
    let old = seal.seal(here, b"1").unwrap();
    assert!(!seal.stale("a", &old) && seal.stale("a", b"plain"));
    assert_eq!(seal.rotate().unwrap(), 2);
    let new = seal.seal(here, b"2").unwrap();
    assert!(seal.stale("a", &old) && !seal.stale("a", &new) && seal.pending());
    // Killed now: both open.
    let seal = home.open();
    assert_eq!((seal.open_text(here, &old).unwrap(), seal.open_text(here, &new).unwrap()), (b"1".to_vec(), b"2".to_vec()));
    seal.finished().unwrap();
    let seal = home.open();
    assert_eq!(seal.open_text(here, &old), Err(Refused::Unknown(1)));
    assert_eq!(seal.open_text(here, &new).unwrap(), b"2");
    assert_eq!(seal.sealing().keys, 1);
}

#[test]
fn a_missing_or_wrong_key_is_refused_with_a_sentence_and_changes_nothing() {
    let home = Home::new();
    let sealed = home.open().seal(label("a", "k", "n"), b"x").unwrap();
    let before = fs::read(home.state().join(KEYS_FILE)).unwrap();
    let key = home.key_file();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read(&key).unwrap();

    assert!(home.refusal(&Source::Off).contains("can't be read with sealing switched off"));
    assert!(home.refusal(&Source::Nowhere).contains("--key-file"));
    let other = home.home.path().join("other.key");
    Master::create(&other).unwrap();
    assert!(home.refusal(&Source::File(other.clone())).contains("is not the key that it is sealed with"));
    fs::set_permissions(&other, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(home.refusal(&Source::File(other)).contains("others may read it (mode 0640)"));
    fs::remove_file(&key).unwrap();
    assert!(home.refusal(&home.source()).contains("its key is missing"));
    assert!(!key.exists(), "no new key takes the place of a lost one");
    fs::write(&key, "myna key 1 abc\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(home.refusal(&home.source()).contains("64 hexadecimal digits"));
    assert_eq!(fs::read(home.state().join(KEYS_FILE)).unwrap(), before);

    // Exported, and named: it opens.
    let elsewhere = home.home.path().join("exported");
    fs::write(&elsewhere, &text).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    let seal = Seal::open(&home.state(), &Source::File(elsewhere)).unwrap();
    assert_eq!(seal.open_text(label("a", "k", "n"), &sealed).unwrap(), b"x");
}

#[test]
fn a_key_inside_of_the_directory_is_refused() {
    let home = Home::new();
    let inside = home.state().join("queue.key");
    assert!(home.refusal(&Source::File(inside.clone())).contains("would lie in the directory that it seals"));
    assert!(!inside.exists() && !home.state().join(KEYS_FILE).exists());
}

#[test]
fn a_passphrase_and_a_command_give_the_same_key_each_time() {
    let home = Home::new();
    let file = home.home.path().join("words");
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let source = Source::PassphraseFile(file.clone());
    write("too short\n");
    assert!(home.refusal(&source).contains("12 bytes or more"));
    write("correct horse battery\n");
    let sealed = Seal::open(&home.state(), &source).unwrap().seal(label("a", "k", "n"), b"x").unwrap();
    write("correct horse battery");
    let seal = Seal::open(&home.state(), &source).unwrap();
    assert_eq!(seal.open_text(label("a", "k", "n"), &sealed).unwrap(), b"x");
    write("wrong horse battery");
    assert!(home.refusal(&source).contains("is not the key"));

    let home = Home::new();
    let command = |text: &str| Source::Command(vec!["printf".into(), text.into()]);
    assert!(home.refusal(&command("nonsense")).contains("printed no key"));
    assert!(home.refusal(&Source::Command(vec!["false".into()])).contains("ended with exit status: 1"));
    assert!(!home.state().join(KEYS_FILE).exists());
    let hex = "ab".repeat(32);
    let id = Seal::open(&home.state(), &command(&hex)).unwrap().sealing().key_id;
    assert_eq!(Seal::open(&home.state(), &command(&hex)).unwrap().sealing().key_id, id);
}

#[test]
fn data_keys_under_a_new_master_open_what_they_sealed() {
    let home = Home::new();
    let seal = home.open();
    let sealed = seal.seal(label("a", "k", "n"), b"x").unwrap();
    let path = home.home.path().join("new.key");
    seal.rewrap(Master::create(&path).unwrap()).unwrap();
    assert!(home.refusal(&home.source()).contains("is not the key"));
    let seal = Seal::open(&home.state(), &Source::File(path)).unwrap();
    assert_eq!(seal.open_text(label("a", "k", "n"), &sealed).unwrap(), b"x");
}

#[test]
fn a_wrapped_key_belongs_to_its_tenant_and_directory() {
    let home = Home::new();
    let seal = home.open();
    seal.seal(label("a", "k", "n"), b"x").unwrap();
    seal.seal(label("b", "k", "n"), b"x").unwrap();
    let path = home.state().join(KEYS_FILE);
    let mut file = KeyFile::read(&path).unwrap().unwrap();
    let (a, b) = (file.keys[0].wrapped.clone(), file.keys[1].wrapped.clone());
    (file.keys[0].wrapped, file.keys[1].wrapped) = (b, a);
    file.write(&path).unwrap();
    assert!(home.refusal(&home.source()).contains("was changed"));
}

#[test]
fn an_archive_is_read_as_it_was_in_pieces_and_refused_when_one_is_missing() {
    let home = Home::new();
    let seal = home.open();
    for length in [0, 1, (1 << 20) - 1, 1 << 20, (2 << 20) + 5] {
        let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut sealed = Vec::new();
        seal_stream(&seal, "a", "a/digest", &plain, &mut sealed).unwrap().unwrap();
        assert_eq!(plain_bytes(sealed.len() as u64), length as u64);
        let path = home.home.path().join("archive");
        let read = |bytes: &[u8], of: &str| {
            fs::write(&path, bytes).unwrap();
            let mut out = Vec::new();
            let mut opened = Opened::new(seal.clone(), File::open(&path)?, "a", of)?;
            opened.read_to_end(&mut out).map(|_| out)
        };
        assert!(read(&sealed, "a/digest").unwrap() == plain);
        assert!(read(&sealed, "a/other").is_err());
        let piece = (1 << 20) + OVERHEAD;
        for cut in [0, sealed.len() - 1, piece.min(sealed.len() - 1), sealed.len() / 2] {
            assert!(read(&sealed[..cut], "a/digest").is_err(), "{length} cut to {cut}");
        }
        if sealed.len() > 2 * piece {
            let swapped = [&sealed[piece..2 * piece], &sealed[..piece], &sealed[2 * piece..]].concat();
            assert!(read(&swapped, "a/digest").is_err());
        }
    }
}
