//! The last requests, for people who look at the emulator; and, at the same rim, throttling and
//! outages, which hit a request before anything looks at it.
//!
//! Invariant: what is kept of a request is its method, its path and its outcome, so no secret:
//! these travel in queries, bodies and headers.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::{Method, StatusCode};

/// How many are records.
const MAX_RECORDS: usize = 50;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) at: SystemTime,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) status: StatusCode,
    /// The AADSTS number, if it was refused with one.
    pub(crate) aadsts: Option<u32>,
}

/// The last requests.
#[derive(Default)]
pub(crate) struct RequestLog(Mutex<VecDeque<RequestRecord>>);

impl RequestLog {
    /// Newest first.
    pub(crate) fn latest(&self) -> Vec<RequestRecord> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().rev().cloned().collect()
    }

    pub(crate) fn record(&self, record: RequestRecord) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == MAX_RECORDS {
            records.pop_front();
        }
        records.push_back(record);
    }
}
