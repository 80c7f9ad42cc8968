//! What a password that a person chooses must be.
//!
//! Length is what counts (NIST SP 800-63B); a rule that asks for a digit and a sign makes `Password1!`. Refused is what a
//! guesser tries first: the name, the commonest passwords, one symbol or one row of keys.

/// The fewest characters of a password.
const MIN_CHARS: usize = 10;

/// The commonest passwords and their stems: what is left of one of these when the digits and signs around it are taken
/// off is refused too. Only those that [`MIN_CHARS`] characters may begin with.
const COMMON: &[&str] = &[
    "access",
    "admin",
    "administrator",
    "asdfghjkl",
    "baseball",
    "changeme",
    "charlie",
    "computer",
    "default",
    "dragon",
    "football",
    "guest",
    "hello",
    "iloveyou",
    "letmein",
    "login",
    "manager",
    "master",
    "michael",
    "monkey",
    "operator",
    "passw0rd",
    "password",
    "passwort",
    "princess",
    "qazwsx",
    "qazwsxedc",
    "qwerty",
    "qwertyuiop",
    "root",
    "secret",
    "shadow",
    "starwars",
    "sunshine",
    "superman",
    "support",
    "system",
    "test",
    "townhub",
    "trustno",
    "user",
    "welcome",
    "whatever",
    "woaini",
    "wuzhen",
    "zaq",
    "zhongguo",
    "zxcvbn",
    "zxcvbnm",
];

/// Rows of keys and of the alphabet, to be read in both directions.
const ROWS: &[&str] = &[
    "12345678901234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p",
];

/// Everything that is wrong with a password for this user; empty when it may be used.
pub(super) fn errors(user: &str, password: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let chars = password.chars().count();
    if chars < MIN_CHARS {
        errors.push(format!("it has {chars} characters; at least {MIN_CHARS} are needed"));
    }
    if password.len() > super::MAX_CREDENTIAL_BYTES {
        errors.push(format!("it is longer than {} bytes", super::MAX_CREDENTIAL_BYTES));
    }
    if password.chars().any(char::is_control) {
        errors.push("it has a control character".to_owned());
    }
    let lower = password.to_lowercase();
    let name = user.to_lowercase();
    if name.chars().count() >= 3 && lower.contains(&name) {
        errors.push("it contains the user name".to_owned());
    }
    let stem = lower.trim_matches(|c: char| !c.is_alphabetic());
    if COMMON.contains(&stem) || COMMON.contains(&lower.as_str()) || is_a_row(&lower) {
        errors.push("it is one of the first that somebody would guess".to_owned());
    }
    errors
}

/// One symbol over and over, a word over and over, or keys in their order.
fn is_a_row(password: &str) -> bool {
    let chars: Vec<char> = password.chars().collect();
    let repeats = |period: usize| chars.iter().zip(chars.iter().skip(period)).all(|(a, b)| a == b);
    let backwards: String = chars.iter().rev().collect();
    (1..=4.min(chars.len() / 2)).any(repeats)
        || ROWS.iter().any(|row| row.contains(password) || row.contains(&backwards))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_password_of_ones_own_is_good() {
        for good in
            ["tide-gate-42-west", "春江潮水连海平海上明月", "correct horse battery", "x7#Kpq!2mZ"]
        {
            assert_eq!(errors("ann", good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn what_somebody_would_guess_is_refused_with_the_reason() {
        let check = |password: &str, said: &str| {
            let found = errors("Annabel", password);
            assert!(found.iter().any(|error| error.contains(said)), "{password}: {found:?}");
        };
        check("short", "at least 10");
        check("井盖水位", "at least 10");
        check("", "at least 10");
        check("annabel-2026", "user name");
        check("my ANNABEL pass", "user name");
        check("Password2026", "guess");
        check("!!password!!", "guess");
        check("administrator", "guess");
        check("townhub12345", "guess");
        check("1234567890", "guess");
        check("0987654321", "guess");
        check("qwertyuiop", "guess");
        check("aaaaaaaaaaaa", "guess");
        check("abcabcabcabc", "guess");
        check("new\nline-password", "control");
        check(&"long".repeat(100), "longer");
    }
}
