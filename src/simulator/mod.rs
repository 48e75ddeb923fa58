//! A stand-in for the vendor.
