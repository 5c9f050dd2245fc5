//! Reads the end of validity and the names of a certificate.
//!
//! rustls verifies certificates and exposes neither. This parser reads DER without recursion and allocates only names;
//! every length is checked against the bytes that exist. It verifies nothing.

use time::{Date, Month, PrimitiveDateTime, Time};

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Explicit tags of the fields of a certificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// Tags of the alternatives of a name.
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The facts of a certificate that rustls does not expose.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The end of validity, in seconds since 1970.
    pub(crate) not_after: i64,
    /// The first URI of the subject alternative name.
    pub(crate) uri: Option<String>,
    /// The first DNS name of the subject alternative name.
    pub(crate) dns_name: Option<String>,
    /// The common name of the subject.
    pub(crate) common_name: Option<String>,
}

/// Reads the facts of a certificate; `None` if its structure is not that of a certificate.
pub(crate) fn read(certificate: &[u8]) -> Option<Facts> {
    let mut signed = Der(certificate).inside(SEQUENCE)?.inside(SEQUENCE)?;
    if signed.0.first() == Some(&VERSION) {
        signed.next()?;
    }
    signed.expect(INTEGER)?;
    let _algorithm = signed.expect(SEQUENCE)?;
    let _issuer = signed.expect(SEQUENCE)?;
    let mut validity = signed.inside(SEQUENCE)?;
    let _not_before = validity.next()?;
    let (tag, not_after) = validity.next()?;
    let mut facts = Facts { not_after: seconds(tag, not_after)?, ..Facts::default() };
    facts.common_name = common_name(signed.inside(SEQUENCE)?);
    let _public_key = signed.expect(SEQUENCE)?;
    while let Some((tag, content)) = signed.next() {
        if tag == EXTENSIONS {
            alternative_names(Der(content).inside(SEQUENCE)?, &mut facts)?;
        }
    }
    Some(facts)
}

/// The rest of an encoded structure.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Reads one element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().and_then(|(tag, content)| (tag == wanted).then_some(content))
    }

    fn inside(&mut self, wanted: u8) -> Option<Self> {
        self.expect(wanted).map(Self)
    }
}

fn common_name(mut subject: Der<'_>) -> Option<String> {
    while let Some(mut attributes) = subject.inside(SET) {
        while let Some(mut attribute) = attributes.inside(SEQUENCE) {
            if attribute.expect(OBJECT_IDENTIFIER)? == COMMON_NAME {
                let (tag, value) = attribute.next()?;
                let is_string = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
                return if is_string { string(value) } else { None };
            }
        }
    }
    None
}

/// Finds the first name of each kind. `None` if the structure is broken.
fn alternative_names(mut extensions: Der<'_>, facts: &mut Facts) -> Option<()> {
    while let Some(mut extension) = extensions.inside(SEQUENCE) {
        if extension.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        let (mut tag, mut content) = extension.next()?;
        if tag != OCTET_STRING {
            // Whether the extension is critical.
            (tag, content) = extension.next()?;
        }
        if tag != OCTET_STRING {
            return None;
        }
        let mut names = Der(content).inside(SEQUENCE)?;
        while let Some((tag, name)) = names.next() {
            let found = match tag {
                URI => &mut facts.uri,
                DNS_NAME => &mut facts.dns_name,
                _ => continue,
            };
            if found.is_none() {
                *found = string(name);
            }
        }
    }
    Some(())
}

fn string(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Reads a time: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after it.
fn seconds(tag: u8, digits: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = digits.split_at_checked(match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    })?;
    let year: i32 = year.parse().ok()?;
    let year = match tag {
        UTC_TIME if year < 50 => 2000 + year,
        UTC_TIME => 1900 + year,
        _ => year,
    };
    if rest.len() != 10 {
        return None;
    }
    let number = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(number(0)?).ok()?, number(2)?).ok()?;
    let time = Time::from_hms(number(4)?, number(6)?, number(8)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use test_certificates::{Authority, Leaf};

    use super::*;

    #[test]
    fn names_and_the_end_of_validity_are_read() {
        let authority = Authority::new("ca");
        let leaf = Leaf::client("worker 7")
            .dns_name("worker-7.example")
            .uri("spiffe://example/worker/7")
            .valid_until("2031-05-06T07:08:09Z");
        let facts = read(authority.issue(&leaf).der()).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("worker 7"));
        assert_eq!(facts.dns_name.as_deref(), Some("worker-7.example"));
        assert_eq!(facts.uri.as_deref(), Some("spiffe://example/worker/7"));
        assert_eq!(facts.not_after, 1_935_817_689);
        // Times from 2050 on have another form.
        let later =
            read(authority.issue(&Leaf::client("w").valid_until("2055-01-01T00:00:00Z")).der()).unwrap();
        assert_eq!((later.not_after, later.uri), (2_682_374_400, None));
    }

    #[test]
    fn times_outside_their_form_are_refused() {
        assert_eq!(seconds(UTC_TIME, b"700101000001Z"), Some(1));
        assert_eq!(seconds(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        for broken in [&b""[..], b"Z", b"700101000001", b"7001010000Z", b"701301000001Z", b"70010100000xZ"] {
            assert_eq!(seconds(UTC_TIME, broken), None, "{broken:?}");
        }
        assert_eq!(seconds(INTEGER, b"700101000001Z"), None);
    }

    proptest! {
        #[test]
        fn damaged_certificates_never_panic(at in 0usize..700, byte: u8, end in 0usize..700) {
            let issued = Authority::new("ca").issue(&Leaf::client("w").dns_name("a.example"));
            let mut der = issued.der().to_vec();
            let at = at % der.len();
            der[at] = byte;
            let _ = read(&der);
            let _ = read(&der[..end % der.len()]);
        }

        #[test]
        fn other_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}
