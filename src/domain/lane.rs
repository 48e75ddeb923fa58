//! Names for how an answer came about.

/// Which walk asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The last days, every poll interval.
    Hot,
    /// One complete walk on request: `argos-sync once`.
    Once,
}

impl Lane {
    /// All lanes, for metrics that stand at 0 from the start.
    pub const ALL: [Self; 2] = [Self::Hot, Self::Once];

    /// The name in tables, payloads, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Once => "once",
        }
    }
}

/// Which shape of answer showed an item. A list item and an item read by id are two views: they may show different
/// fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// An item of a list page.
    List,
    /// An item asked for by `submission_id`.
    Id,
}

impl View {
    /// The name in tables, payloads and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Id => "id",
        }
    }
}
