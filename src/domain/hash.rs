//! Keyed hashes: version ids, event ids, body hashes.
//!
//! All are keyed with the database's secret, so that a hash that stays after an erasure tells nothing about what was
//! erased. The same history served again gives the same ids; that is what makes "exactly once" checkable.

use uuid::Uuid;

/// A 32-byte keyed BLAKE3 hash.
pub type Hash = [u8; 32];

/// The secret that keys every hash of one database.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(<redacted>)")
    }
}

impl HashKey {
    /// Takes the secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Hashes the parts under a purpose. Each part is preceded by its length, so no two lists of parts run together.
    fn hash(&self, purpose: &str, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Hash of a raw item, to see without decoding that it was already applied.
    pub fn body(&self, raw: &[u8]) -> Hash {
        self.hash("body", &[raw])
    }

    /// Names a list that cursors belong to, without telling the key that opens it.
    pub fn source(&self, parts: &[&[u8]]) -> Hash {
        self.hash("source", parts)
    }

    /// Where a submission's chain of version ids starts.
    pub fn chain_start(&self, project_id: &str, submission_id: &str) -> Hash {
        self.hash("submission", &[project_id.as_bytes(), submission_id.as_bytes()])
    }

    /// The next id in a chain: `H(previous version_id, canonical state)`.
    pub fn version(&self, previous: &Hash, canonical_state: &[u8]) -> Hash {
        self.hash("version", &[previous, canonical_state])
    }

    /// Id of an event of a version: from (version_id, type, key, place among equal keys).
    pub fn event(&self, version_id: &Hash, event_type: &str, key: &str, place: u32) -> Uuid {
        self.uuid(&self.hash("event", &[version_id, event_type.as_bytes(), key.as_bytes(), &place.to_le_bytes()]))
    }

    /// Id of a project's event: from (project, type, import number).
    pub fn project_event(&self, project_id: &str, event_type: &str, number: i32) -> Uuid {
        self.uuid(&self.hash("project", &[project_id.as_bytes(), event_type.as_bytes(), &number.to_le_bytes()]))
    }

    /// Tells whether a receipt of an erasure was altered.
    pub fn receipt(&self, parts: &[&[u8]]) -> Hash {
        self.hash("receipt", parts)
    }

    fn uuid(&self, hash: &Hash) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        // Version 8 (RFC 9562): the content is ours, not a time and not random.
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_every_purpose_and_every_part_makes_another_hash() {
        let key = HashKey::new([7; 32]);
        let (one, other) = (key.version(&[1; 32], b"state"), key.version(&[1; 32], b"other"));
        let hashes = [
            key.body(b"a"),
            key.body(b"ab"),
            key.source(&[b"ab"]),
            key.source(&[b"a", b"b"]),
            key.receipt(&[b"ab"]),
            key.receipt(&[b"ab", b""]),
            key.chain_start("ab", "c"),
            key.chain_start("a", "bc"),
            one,
            other,
            key.version(&[2; 32], b"state"),
            HashKey::new([8; 32]).version(&[1; 32], b"state"),
        ];
        let ids = [
            key.event(&one, "type", "key", 0),
            key.event(&one, "type", "key", 1),
            key.event(&one, "type", "other", 0),
            key.event(&one, "other", "key", 0),
            key.event(&other, "type", "key", 0),
            key.project_event("project", "type", 1),
            key.project_event("project", "type", 2),
            key.project_event("project", "other", 1),
            key.project_event("other", "type", 1),
        ];
        let different = |count: usize, all: Vec<Vec<u8>>| {
            assert_eq!(all.into_iter().collect::<std::collections::BTreeSet<_>>().len(), count);
        };
        different(hashes.len(), hashes.map(|hash| hash.to_vec()).into());
        different(ids.len(), ids.map(|id| id.as_bytes().to_vec()).into());
        assert_eq!(ids.map(|id| id.get_version_num()), [8; 9]);
    }

    /// A release that makes other ids of the same history would tell everything again.
    #[test]
    fn p2_ids_stay_as_they_are_from_release_to_release() {
        let key = HashKey::new([7; 32]);
        let version = key.version(&key.chain_start("project", "s"), b"{}");
        assert_eq!(
            key.event(&version, "submission.created", "", 0).to_string(),
            "d15be46a-2353-8366-8d34-9eb04839483a"
        );
        assert_eq!(
            key.project_event("project", "project.import_completed", 1).to_string(),
            "3dda09d8-1db7-88fe-9997-bb3903eb3375"
        );
    }

    #[test]
    fn p11_the_secret_is_not_printed() {
        assert_eq!(format!("{:?}", HashKey::new([7; 32])), "HashKey(<redacted>)");
    }
}
