//! Windows: the network settings of the user, and what WinHTTP returns for their script.

use std::ptr;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{FALSE, GetLastError, GlobalFree, TRUE};
use windows_sys::Win32::Networking::WinHttp::{
    ERROR_WINHTTP_LOGIN_FAILURE, WINHTTP_ACCESS_TYPE_NAMED_PROXY, WINHTTP_ACCESS_TYPE_NO_PROXY,
    WINHTTP_AUTO_DETECT_TYPE_DHCP, WINHTTP_AUTO_DETECT_TYPE_DNS_A, WINHTTP_AUTOPROXY_AUTO_DETECT,
    WINHTTP_AUTOPROXY_CONFIG_URL, WINHTTP_AUTOPROXY_OPTIONS, WINHTTP_CURRENT_USER_IE_PROXY_CONFIG,
    WINHTTP_PROXY_INFO, WinHttpGetIEProxyConfigForCurrentUser, WinHttpGetProxyForUrl, WinHttpOpen,
};

/// See [`Lookup`](super::Lookup).
pub(super) const LOOKUP: Option<super::Lookup> = Some(lookup);

fn lookup(url: &str) -> Option<Vec<String>> {
    let settings = Settings::of_user()?;
    let session = SESSION.get_or_init(Session::open).as_ref()?;
    let url = wide(url);
    let detected = settings.detects.then(|| session.look_up(&url, None));
    let scripted = || {
        let script = settings.script.as_deref()?;
        session.look_up(&url, Some(script))
    };
    // The order that Windows documents: automatic detection, then the configured script.
    detected.flatten().or_else(scripted)
}

/// The network settings of the user.
struct Settings {
    detects: bool,
    script: Option<Vec<u16>>,
}

impl Settings {
    #[expect(
        unsafe_code,
        reason = "the system's settings; its strings are ours to free"
    )]
    fn of_user() -> Option<Self> {
        let mut set = WINHTTP_CURRENT_USER_IE_PROXY_CONFIG::default();
        // SAFETY: the call fills a structure of ours; each string is null or ours from then on.
        unsafe {
            if WinHttpGetIEProxyConfigForCurrentUser(&raw mut set) == FALSE {
                return None;
            }
            take(set.lpszProxy);
            take(set.lpszProxyBypass);
            Some(Self {
                detects: set.fAutoDetect != FALSE,
                script: take(set.lpszAutoConfigUrl).filter(|script| script.len() > 1),
            })
        }
    }
}

/// One session for all lookups, because it caches the script.
static SESSION: OnceLock<Option<Session>> = OnceLock::new();

/// A WinHTTP session. Its only requests are those for the script. It is never closed.
struct Session(*mut core::ffi::c_void);

// SAFETY: a session is a handle, which WinHTTP lets every thread use, several at a time.
#[expect(unsafe_code, reason = "a handle of the system")]
unsafe impl Send for Session {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a handle of the system")]
unsafe impl Sync for Session {}

impl Session {
    #[expect(unsafe_code, reason = "a handle that is never closed")]
    fn open() -> Option<Self> {
        let agent = wide("postern");
        // SAFETY: the string ends with a null and outlives the call.
        let handle = unsafe {
            WinHttpOpen(
                agent.as_ptr(),
                WINHTTP_ACCESS_TYPE_NO_PROXY,
                ptr::null(),
                ptr::null(),
                0,
            )
        };
        (!handle.is_null()).then_some(Self(handle))
    }

    /// Looks up the proxies with `script`, or with the detected one. Returns `None` if there is
    /// none.
    fn look_up(&self, url: &[u16], script: Option<&[u16]>) -> Option<Vec<String>> {
        // Windows recommends sending the user's credentials only to servers that require them.
        match self.try_look_up(url, script, FALSE) {
            Err(ERROR_WINHTTP_LOGIN_FAILURE) => self.try_look_up(url, script, TRUE).ok(),
            entries => entries.ok(),
        }
    }

    #[expect(
        unsafe_code,
        reason = "the system's answer; its strings are ours to free"
    )]
    fn try_look_up(
        &self,
        url: &[u16],
        script: Option<&[u16]>,
        logs_on: i32,
    ) -> Result<Vec<String>, u32> {
        let mut options = WINHTTP_AUTOPROXY_OPTIONS {
            fAutoLogonIfChallenged: logs_on,
            ..Default::default()
        };
        match script {
            Some(script) => {
                options.dwFlags = WINHTTP_AUTOPROXY_CONFIG_URL;
                options.lpszAutoConfigUrl = script.as_ptr();
            }
            None => {
                options.dwFlags = WINHTTP_AUTOPROXY_AUTO_DETECT;
                options.dwAutoDetectFlags =
                    WINHTTP_AUTO_DETECT_TYPE_DHCP | WINHTTP_AUTO_DETECT_TYPE_DNS_A;
            }
        }
        let mut info = WINHTTP_PROXY_INFO::default();
        // SAFETY: the handle is open, the strings end with a null and outlive the call, and the
        // answer's strings are null or ours.
        unsafe {
            let found =
                WinHttpGetProxyForUrl(self.0, url.as_ptr(), &raw mut options, &raw mut info);
            if found == FALSE {
                return Err(GetLastError());
            }
            take(info.lpszProxyBypass);
            let proxies = take(info.lpszProxy).unwrap_or_default();
            Ok(match info.dwAccessType {
                WINHTTP_ACCESS_TYPE_NAMED_PROXY => listed(&proxies),
                _ => vec!["direct://".to_owned()],
            })
        }
    }
}

/// Parses a list of proxies, separated by semicolons or blanks. Ignores the scheme of an entry,
/// because the lookup was for one scheme.
fn listed(proxies: &[u16]) -> Vec<String> {
    let text = String::from_utf16_lossy(proxies);
    let proxies = text.split([';', ' ', '\0']);
    let proxies = proxies.filter(|entry| !entry.is_empty());
    proxies
        .map(|entry| match entry.split_once('=') {
            Some(("socks", at)) if !at.contains("://") => format!("socks://{at}"),
            Some((_, at)) => at.to_owned(),
            None => entry.to_owned(),
        })
        .collect()
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// Copies a string of the system, with the null at its end, and frees it.
///
/// # Safety
///
/// `text` is null, or a string that ends with a null and that `GlobalFree` takes.
#[expect(unsafe_code, reason = "a string of the system")]
unsafe fn take(text: *mut u16) -> Option<Vec<u16>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: see above.
    unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        let copy = std::slice::from_raw_parts(text, length + 1).to_vec();
        GlobalFree(text.cast());
        Some(copy)
    }
}
