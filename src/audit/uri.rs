//! Path and parameters of a request's URI.

/// The parameters in order, decoded as HTML forms are: `+` is a space, `%2F` a slash; what is not UTF-8 is replaced.
pub fn query(uri: &str) -> Vec<(String, String)> {
    let Some((_, query)) = uri.split_once('?') else { return Vec::new() };
    let query = query.split_once('#').map_or(query, |(before, _)| before);
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The path, without parameters.
pub fn path(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_order_and_damage_is_taken_as_it_stands() {
        let uri = "/api/v1/namespaces/a/pods/b/exec?command=sh&command=-c&command=cat+%2Fetc%2Fpasswd%20%26&stdin=true&x&%zz=%f";
        let all = query(uri);
        let commands: Vec<_> = all.iter().filter(|(k, _)| k == "command").map(|(_, v)| v.as_str()).collect();
        assert_eq!(commands, ["sh", "-c", "cat /etc/passwd &"]);
        assert_eq!(all[4..], [("x".into(), String::new()), ("%zz".into(), "%f".into())]);
        assert_eq!(path(uri), "/api/v1/namespaces/a/pods/b/exec");
        assert!(query("/api").is_empty());
    }
}
