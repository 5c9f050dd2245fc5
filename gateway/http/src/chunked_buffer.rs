//! A buffer of chunks for bytes that arrive in parts and are used as a whole.
//!
//! A buffer of the announced length would be allocated before the bytes arrive, and could not use memory that other
//! requests free in the meantime. A growing buffer is copied repeatedly. Chunks take less than twice the bytes that have
//! arrived, and the chunks of rejected requests are reused at once. The frames are parts of larger buffers of the
//! connection, so they are not kept.

/// Maximum length of a chunk, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// The bytes that have arrived.
#[derive(Debug, Default)]
pub struct ChunkedBuffer {
    chunks: Vec<Vec<u8>>,
    length: usize,
}

impl ChunkedBuffer {
    /// Returns the number of bytes that have arrived.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether no bytes have arrived.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (length, count) = (self.length, bytes.len());
            let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() < chunk.capacity()) else {
                self.chunks.push(Vec::with_capacity(length.max(count).min(CHUNK_BYTES)));
                continue;
            };
            let (now, later) = bytes.split_at(count.min(chunk.capacity() - chunk.len()));
            chunk.extend_from_slice(now);
            self.length += now.len();
            bytes = later;
        }
    }

    /// Returns all bytes and clears the buffer.
    pub fn joined(&mut self) -> Vec<u8> {
        let Self { mut chunks, length } = std::mem::take(self);
        if chunks.len() == 1 {
            return chunks.remove(0);
        }
        let mut joined = Vec::with_capacity(length);
        // Each chunk is freed when it is copied.
        for chunk in chunks {
            joined.extend_from_slice(&chunk);
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_joined_in_order_and_take_less_than_twice_their_length() {
        let bytes: Vec<u8> = (0..=255).cycle().take(5 * CHUNK_BYTES + 7).collect();
        let mut chunks = ChunkedBuffer::default();
        for piece in [1, 100, 16 * 1024, bytes.len()] {
            for piece in bytes.chunks(piece) {
                chunks.push(piece);
                let capacity: usize = chunks.chunks.iter().map(Vec::capacity).sum();
                assert!(capacity <= 2 * chunks.len(), "{capacity} for {}", chunks.len());
            }
            assert!(chunks.joined() == bytes, "in pieces of {piece}");
            assert_eq!((chunks.len(), chunks.joined()), (0, Vec::new()));
        }
    }
}
