//! Reads a ZIP archive's own account of itself (PKWARE APPNOTE 6.3.10) and believes it only where every part agrees.
//!
//! Readers of ZIP differ on archives that contradict themselves: one trusts the central directory, another the local headers,
//! a third scans. What a checker saw is then not what an extractor writes. So there is one reader here, it serves both, and an
//! archive whose parts disagree is refused. Nothing is allocated by a number that the archive states before that number was
//! checked against the archive's real length.

use super::Refused;

const END: u32 = 0x0605_4b50;
const END_LEN: usize = 22;
const END64: u32 = 0x0606_4b50;
const END64_LEN: usize = 56;
const LOCATOR: u32 = 0x0706_4b50;
const LOCATOR_LEN: usize = 20;
const CENTRAL: u32 = 0x0201_4b50;
const CENTRAL_LEN: usize = 46;
const LOCAL: u32 = 0x0403_4b50;
const LOCAL_LEN: usize = 30;

const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const PATCHED: u16 = 1 << 5;
const DESCRIPTOR: u16 = 1 << 3;
const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_UNICODE_PATH: u16 = 0x7075;
const SATURATED: u64 = 0xffff_ffff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate,
}

/// One entry, as the central directory and its local header say alike.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) size: u64,
    /// Permission and type bits, when a Unix-like system made the archive.
    pub(super) unix_mode: Option<u32>,
    /// The compressed bytes.
    pub(super) data: &'a [u8],
    /// Where it begins and ends in the archive, header included.
    extent: (u64, u64),
}

struct Directory {
    offset: u64,
    size: u64,
    entries: u64,
}

/// All entries, in the order of the central directory.
pub(super) fn read(bytes: &[u8], entries_max: usize, name_bytes_max: usize) -> Result<Vec<Entry<'_>>, Refused> {
    let directory = find_directory(bytes)?;
    if directory.entries > entries_max as u64 {
        return Err(Refused::large(format!("it has {} entries, and {entries_max} are the most", directory.entries)));
    }
    let mut rest = slice(bytes, directory.offset, directory.size).ok_or_else(|| broken("its directory lies outside of it"))?;
    if directory.entries > (rest.len() / CENTRAL_LEN) as u64 {
        return Err(broken("its directory is too short for the entries that it counts"));
    }
    let mut entries = Vec::with_capacity(directory.entries as usize);
    for _ in 0..directory.entries {
        let (entry, after) = central(bytes, rest, &directory, name_bytes_max)?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(broken("its directory is longer than the entries that it counts"));
    }
    no_overlap(&entries)?;
    Ok(entries)
}

fn find_directory(bytes: &[u8]) -> Result<Directory, Refused> {
    let at = find_end(bytes)?;
    let end = &bytes[at..];
    let numbers = [u16_at(end, 4), u16_at(end, 6)].map(u64::from);
    let (here, entries) = (u64::from(u16_at(end, 8)), u64::from(u16_at(end, 10)));
    let (size, offset) = (u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    let found = Directory { offset, size, entries };
    let (directory, end_of_directory) = match locator(bytes, at) {
        Some(locator) => end64(bytes, at, locator, &found)?,
        None if numbers != [0, 0] || here != entries => return Err(broken("it is one part of several; send it whole")),
        None => (found, at as u64),
    };
    if directory.offset.checked_add(directory.size) != Some(end_of_directory) {
        return Err(broken("its directory is not where its end says"));
    }
    Ok(directory)
}

/// The end record is found by its signature, since a comment of any length may follow it. A comment that holds a second one
/// makes an archive that two readers see differently.
fn find_end(bytes: &[u8]) -> Result<usize, Refused> {
    if bytes.len() < END_LEN {
        return Err(broken("it is too short to be a ZIP archive"));
    }
    let first = bytes.len().saturating_sub(END_LEN + usize::from(u16::MAX));
    let fits = |at: &usize| u32_at(bytes, *at) == END && at + END_LEN + usize::from(u16_at(bytes, at + 20)) == bytes.len();
    let mut found = (first..=bytes.len() - END_LEN).rev().filter(fits);
    let at = found.next().ok_or_else(|| broken("it is no ZIP archive, or its end is missing"))?;
    match found.next() {
        None => Ok(at),
        Some(_) => Err(broken("it has two ends")),
    }
}

fn locator(bytes: &[u8], end: usize) -> Option<&[u8]> {
    let at = end.checked_sub(LOCATOR_LEN)?;
    (u32_at(bytes, at) == LOCATOR).then(|| &bytes[at..end])
}

fn end64(bytes: &[u8], end: usize, locator: &[u8], short: &Directory) -> Result<(Directory, u64), Refused> {
    let at = u64_at(locator, 8);
    let record = slice(bytes, at, END64_LEN as u64).ok_or_else(|| broken("its 64-bit end lies outside of it"))?;
    let length = u64_at(record, 4).checked_add(12);
    let closes = length.and_then(|l| at.checked_add(l)) == Some((end - LOCATOR_LEN) as u64);
    if u32_at(record, 0) != END64 || !closes {
        return Err(broken("its 64-bit end is not where it says"));
    }
    if u32_at(locator, 4) != 0 || u32_at(locator, 16) > 1 || u32_at(record, 16) != 0 || u32_at(record, 20) != 0 {
        return Err(broken("it is one part of several; send it whole"));
    }
    let long = Directory { entries: u64_at(record, 32), size: u64_at(record, 40), offset: u64_at(record, 48) };
    let agrees = |short: u64, long: u64, saturated: u64| short == saturated || short == long;
    let count = u64::from(u16::MAX);
    if u64_at(record, 24) != long.entries
        || !agrees(short.entries, long.entries, count)
        || !agrees(short.size, long.size, SATURATED)
        || !agrees(short.offset, long.offset, SATURATED)
    {
        return Err(broken("its two ends disagree"));
    }
    Ok((long, at))
}

fn central<'a>(
    bytes: &'a [u8],
    rest: &'a [u8],
    directory: &Directory,
    name_bytes_max: usize,
) -> Result<(Entry<'a>, &'a [u8]), Refused> {
    if rest.len() < CENTRAL_LEN || u32_at(rest, 0) != CENTRAL {
        return Err(broken("its directory is damaged"));
    }
    let lengths = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
    let total = CENTRAL_LEN + lengths.iter().sum::<usize>();
    if rest.len() < total {
        return Err(broken("its directory is cut off"));
    }
    let raw = &rest[CENTRAL_LEN..CENTRAL_LEN + lengths[0]];
    let shown = || raw.escape_ascii().to_string().chars().take(80).collect::<String>();
    if raw.len() > name_bytes_max {
        return Err(Refused::large(format!(
            "entry {:?}… has a name of {} bytes, and {name_bytes_max} are the most",
            shown(),
            raw.len()
        )));
    }
    let name = std::str::from_utf8(raw).map_err(|_| broken(format!("entry \"{}\" has a name that is not UTF-8", shown())))?;
    let bad = |what: &str| broken(format!("entry {name:?} {what}"));
    let extra = &rest[CENTRAL_LEN + lengths[0]..CENTRAL_LEN + lengths[0] + lengths[1]];
    let mut sizes = Sizes { size: u32_at(rest, 24).into(), packed: u32_at(rest, 20).into(), offset: u32_at(rest, 42).into() };
    sizes.widen(extra, name).map_err(bad)?;
    if u16_at(rest, 34) != 0 {
        return Err(bad("lies on another part of the archive"));
    }
    let flags = u16_at(rest, 8);
    if flags & (ENCRYPTED | PATCHED) != 0 {
        return Err(bad("is encrypted or a patch"));
    }
    let method = match u16_at(rest, 10) {
        0 if sizes.size != sizes.packed => return Err(bad("is stored as it is, yet states two sizes")),
        0 => Method::Stored,
        8 => Method::Deflate,
        other => return Err(bad(&format!("is packed by method {other}; only \"stored\" and \"deflate\" are read"))),
    };
    let unix_mode = matches!(rest[5], 3 | 19).then(|| u32_at(rest, 38) >> 16).filter(|mode| *mode != 0);
    let said = Said { raw, name, flags, method: u16_at(rest, 10), crc: u32_at(rest, 16), sizes };
    let (data, extent) = local(bytes, directory, &said)?;
    let entry = Entry { name, method, crc: said.crc, size: said.sizes.size, unix_mode, data, extent };
    Ok((entry, &rest[total..]))
}

/// What the central directory says of an entry, to be held against its local header.
struct Said<'a> {
    raw: &'a [u8],
    name: &'a str,
    flags: u16,
    method: u16,
    crc: u32,
    sizes: Sizes,
}

struct Sizes {
    size: u64,
    packed: u64,
    offset: u64,
}

impl Sizes {
    /// Take saturated numbers from the 64-bit field, which must hold exactly those; and refuse a second name.
    fn widen(&mut self, extra: &[u8], name: &str) -> Result<(), &'static str> {
        let mut wide = None;
        for field in fields(extra) {
            let (tag, value) = field?;
            match tag {
                EXTRA_ZIP64 if wide.replace(value).is_some() => return Err("states its 64-bit sizes twice"),
                EXTRA_UNICODE_PATH if value.get(5..) != Some(name.as_bytes()) => return Err("has two names"),
                _ => {}
            }
        }
        let mut wide = wide.unwrap_or_default();
        for number in [&mut self.size, &mut self.packed, &mut self.offset] {
            if *number == SATURATED {
                let (value, rest) = wide.split_at_checked(8).ok_or("lacks the 64-bit sizes that it points to")?;
                (*number, wide) = (u64_at(value, 0), rest);
            }
        }
        Ok(())
    }
}

fn fields(mut extra: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), &'static str>> {
    std::iter::from_fn(move || {
        // Some writers pad with up to three bytes.
        if extra.len() < 4 {
            return None;
        }
        let (tag, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(value) = extra.get(4..4 + length) else {
            extra = &[];
            return Some(Err("has a damaged extra field"));
        };
        extra = &extra[4 + length..];
        Some(Ok((tag, value)))
    })
}

fn local<'a>(bytes: &'a [u8], directory: &Directory, said: &Said<'_>) -> Result<(&'a [u8], (u64, u64)), Refused> {
    let bad = |what: &str| broken(format!("entry {:?} {what}", said.name));
    let start = said.sizes.offset;
    let before = &bytes[..directory.offset as usize];
    let header = slice(before, start, LOCAL_LEN as u64).ok_or_else(|| bad("begins outside of the archive"))?;
    if u32_at(header, 0) != LOCAL {
        return Err(bad("is not where the directory says"));
    }
    let (name_len, extra_len) = (u64::from(u16_at(header, 26)), u64::from(u16_at(header, 28)));
    let name_at = start + LOCAL_LEN as u64;
    let name = slice(before, name_at, name_len).ok_or_else(|| bad("is cut off"))?;
    let extra = slice(before, name_at + name_len, extra_len).ok_or_else(|| bad("is cut off"))?;
    if name != said.raw {
        return Err(bad("has another name in its own header"));
    }
    let flags = u16_at(header, 6);
    if flags & ENCRYPTED != 0 || u16_at(header, 8) != said.method || (flags ^ said.flags) & DESCRIPTOR != 0 {
        return Err(bad("is packed in another way by its own header"));
    }
    let mut sizes = Sizes { size: u32_at(header, 22).into(), packed: u32_at(header, 18).into(), offset: 0 };
    let later = flags & DESCRIPTOR != 0;
    // With a descriptor behind the data, the header may leave the numbers out; what it does state must be true.
    let agrees = |own: u64, said: u64| own == said || later && own == 0;
    sizes.widen(extra, said.name).map_err(bad)?;
    if !agrees(sizes.size, said.sizes.size)
        || !agrees(sizes.packed, said.sizes.packed)
        || !agrees(u32_at(header, 14).into(), said.crc.into())
    {
        return Err(bad("has another size or checksum in its own header"));
    }
    let data_at = name_at + name_len + extra_len;
    let data = slice(before, data_at, said.sizes.packed).ok_or_else(|| bad("ends outside of the archive"))?;
    Ok((data, (start, data_at + said.sizes.packed)))
}

/// Entries that share bytes are how a small archive unpacks to a huge one without any entry being suspicious.
fn no_overlap(entries: &[Entry<'_>]) -> Result<(), Refused> {
    let mut order: Vec<&Entry<'_>> = entries.iter().collect();
    order.sort_unstable_by_key(|e| e.extent);
    match order.windows(2).find(|w| w[1].extent.0 < w[0].extent.1) {
        None => Ok(()),
        Some(w) => Err(broken(format!("entries {:?} and {:?} share bytes", w[0].name, w[1].name))),
    }
}

fn broken(what: impl Into<String>) -> Refused {
    Refused::invalid(what)
}
fn slice(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let (at, end) = (usize::try_from(at).ok()?, usize::try_from(at.checked_add(length)?).ok()?);
    bytes.get(at..end)
}
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
