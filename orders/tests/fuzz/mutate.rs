//! Random numbers from a seed, and mutations of bytes and of JSON.

use serde_json::{Map, Value, json};

/// A generator of random numbers (SplitMix64): the same seed creates the same inputs.
pub(crate) struct Random(u64);

/// Strings that often cause errors.
const STRINGS: [&str; 24] = [
    "",
    " ",
    "\u{0}",
    "\u{feff}",
    "\u{1F600}",
    "\u{202e}",
    "é",
    "null",
    "-1",
    "0",
    "1e309",
    "9223372036854775807",
    "9999-12-31T23:59:59-00:01",
    "0000-00-00T00:00:00Z",
    "1970-01-01T00:00:00+23:59",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "../../etc/passwd",
    "%00%ff",
    "'; DROP TABLE orders; --",
    "<script>",
    "a\r\nb",
    "USD",
    "\\u{D83D}",
];
const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "-1",
    "1",
    "2.0",
    "1.5",
    "1e3",
    "1e400",
    "-1e400",
    "1e-400",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "0.1000000000000000055511151231257827",
];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    /// Returns true once in `times` on average.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    pub(crate) fn string(&mut self) -> String {
        match self.below(8) {
            0 => self.pick(&STRINGS).repeat(1 + self.below(300)),
            1 => {
                let length = self.below(40);
                (0..length).filter_map(|_| char::from_u32(self.below(0x11_0000) as u32)).collect()
            }
            _ => (*self.pick(&STRINGS)).to_owned(),
        }
    }

    /// Returns bytes that differ from `base` in one to eight places.
    pub(crate) fn bytes(&mut self, base: &[u8]) -> Vec<u8> {
        let mut bytes = base.to_vec();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.next() as u8,
                2 => drop(bytes.drain(at..end)),
                3 => drop(bytes.splice(at..at, self.string().into_bytes())),
                4 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                5 => drop(bytes.splice(at..end, (*self.pick(&NUMBERS)).bytes())),
                _ => bytes.insert(at, *self.pick(b"{}[]()\"',:$@!|&=#\\/ \n\r\0\xff%+")),
            }
        }
        bytes
    }

    /// Returns valid UTF-8, mutated like bytes.
    pub(crate) fn mutated_string(&mut self, base: &str) -> String {
        String::from_utf8_lossy(&self.bytes(base.as_bytes())).into_owned()
    }

    /// Returns `base` with one to four of its values replaced, removed, repeated or joined by others.
    pub(crate) fn json(&mut self, base: &Value) -> Value {
        let mut value = base.clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut value);
        }
        value
    }

    fn mutate(&mut self, value: &mut Value) {
        match value {
            Value::Object(members) if !members.is_empty() && !self.once_in(6) => {
                let name = members.keys().nth(self.below(members.len())).cloned().expect("it is one of them");
                match self.below(6) {
                    0 => drop(members.remove(&name)),
                    1 => drop(members.insert(self.string(), self.value(0))),
                    2 => drop(members.insert(name, self.value(0))),
                    _ => self.mutate(members.get_mut(&name).expect("it is one of them")),
                }
            }
            Value::Array(elements) if !elements.is_empty() && !self.once_in(6) => {
                let at = self.below(elements.len());
                match self.below(5) {
                    0 => drop(elements.remove(at)),
                    1 => {
                        let copies = vec![elements[at].clone(); 1 + self.below(300)];
                        elements.splice(at..at, copies);
                    }
                    2 => elements[at] = self.value(0),
                    _ => self.mutate(&mut elements[at]),
                }
            }
            Value::String(text) if !self.once_in(3) => *text = self.mutated_string(text),
            other => *other = self.value(0),
        }
    }

    /// Returns a random value.
    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth < 4 { 9 } else { 6 }) {
            0 => Value::Null,
            1 => json!(self.once_in(2)),
            2 | 3 => serde_json::from_str(self.pick::<&str>(&NUMBERS)).unwrap_or_else(|_| json!(self.next())),
            4 | 5 => Value::String(self.string()),
            6 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect(),
            7 => Value::Object(
                (0..self.below(4)).map(|_| (self.string(), self.value(depth + 1))).collect::<Map<_, _>>(),
            ),
            _ => {
                let mut nested = self.value(4);
                for _ in 0..self.below(200) {
                    nested = json!([nested]);
                }
                nested
            }
        }
    }
}
