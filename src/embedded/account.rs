//! The operating-system user the server runs as.

use nix::unistd::{Gid, Uid, User, geteuid};

use super::EmbeddedError;

/// The operating-system user the server runs as.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) name: String,
    /// We are root and this is somebody else.
    pub(super) switch: bool,
}

impl Account {
    /// An ordinary user runs the server itself. Root cannot: the directory's owner does, or else `postgres`, or else
    /// `nobody`.
    pub(super) fn choose(owner: Option<Uid>) -> Result<Self, EmbeddedError> {
        let us = geteuid();
        let (user, uid) = if !us.is_root() {
            (User::from_uid(us), us)
        } else if let Some(owner) = owner.filter(|owner| !owner.is_root()) {
            (User::from_uid(owner), owner)
        } else {
            let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
            let user = user.filter(|user| !user.uid.is_root()).ok_or(EmbeddedError::NoServerUser)?;
            let uid = user.uid;
            (Ok(Some(user)), uid)
        };
        let user = user.ok().flatten();
        Ok(Self {
            uid,
            gid: user.as_ref().map_or(Gid::from_raw(uid.as_raw()), |user| user.gid),
            name: user.map_or_else(|| uid.to_string(), |user| user.name),
            switch: us.is_root(),
        })
    }
}

/// A user's name, or number if it has none.
pub(super) fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
