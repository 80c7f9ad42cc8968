//! One shape: unit, time, range, quality, duplicates.
