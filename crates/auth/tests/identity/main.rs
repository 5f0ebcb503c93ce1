//! Signing in and staying signed in, against an authorization server in this process.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod audience;
#[cfg(test)]
mod authority;
#[cfg(test)]
mod client_credentials;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod connections;
#[cfg(test)]
#[cfg(unix)]
mod crash;
#[cfg(test)]
mod device;
#[cfg(test)]
mod diagnostics;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod entra;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod pasted_callback;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod sign_in;
#[cfg(test)]
mod unsaved;

#[cfg(test)]
/// When these tests take place, in seconds since 1970.
const START: u64 = 1_790_000_000;
