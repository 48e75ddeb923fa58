//! Names for how an answer came about.

/// Which walk asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The last days, every poll interval.
    Hot,
    /// Days, or single submissions, that are still incomplete or pending.
    Open,
    /// Everything, round the clock.
    Sweep,
    /// The first import, and days asked for again.
    Backfill,
    /// One complete walk on request: `argos-sync once`.
    Once,
    /// Days in which a walk missed somebody, walked again to learn whom.
    Verify,
    /// Single submissions that somebody or something asked for.
    Refresh,
    /// Single submissions that seem to be gone or to have lost personal data.
    Confirm,
    /// Single submissions drawn at random, to see that the mirror is right.
    Canary,
}

impl Lane {
    /// All lanes, for metrics that stand at 0 from the start.
    pub const ALL: [Self; 9] = [
        Self::Hot,
        Self::Open,
        Self::Sweep,
        Self::Backfill,
        Self::Once,
        Self::Verify,
        Self::Refresh,
        Self::Confirm,
        Self::Canary,
    ];

    /// The name in tables, payloads, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Open => "open",
            Self::Sweep => "sweep",
            Self::Backfill => "backfill",
            Self::Once => "once",
            Self::Verify => "verify",
            Self::Refresh => "refresh",
            Self::Confirm => "confirm",
            Self::Canary => "canary",
        }
    }

    /// The lane of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == name)
    }
}

/// Which shape of answer showed an item. They may show different fields of the same submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// An item of a list page.
    List,
    /// An item asked for by `submission_id`.
    Id,
    /// An item of a list page with `request_type=aml`: `submission_id` and `aml` alone.
    Aml,
}

impl View {
    /// All views.
    pub const ALL: [Self; 3] = [Self::List, Self::Id, Self::Aml];

    /// The name in tables, payloads and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Id => "id",
            Self::Aml => "aml",
        }
    }

    /// The view of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for lane in Lane::ALL {
            assert_eq!(Lane::parse(lane.as_str()), Some(lane));
        }
        for view in View::ALL {
            assert_eq!(View::parse(view.as_str()), Some(view));
        }
        assert_eq!((Lane::parse("other"), View::parse("other")), (None, None));
    }
}
