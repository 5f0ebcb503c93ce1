//! The latest requests, for the admin API.
//!
//! Invariant: a record contains only the method, the path and the outcome. Secrets are in queries,
//! bodies and headers, so no record has one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::{Method, StatusCode};

/// The maximum number of records.
const MAX_RECORDS: usize = 50;

/// A handled request.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) at: SystemTime,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) status: StatusCode,
    /// The AADSTS number if the response is an error.
    pub(crate) aadsts: Option<u32>,
}

/// The latest requests.
#[derive(Default)]
pub(crate) struct RequestLog(Mutex<VecDeque<RequestRecord>>);

impl RequestLog {
    /// Returns the records, newest first.
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
