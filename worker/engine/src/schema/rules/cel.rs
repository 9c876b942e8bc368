//! The syntax of CEL expressions, and as much of their types as needs no schema.

/// Levels of nesting that the server's parser allows.
const MAX_DEPTH: usize = 250;

/// What an expression gives, where that is plain from the expression alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int,
    Double,
    Text,
    List,
    Map,
    Null,
    Unknown,
}

impl Type {
    /// As the server calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::List => "list",
            Self::Map => "map",
            Self::Null => "null_type",
            Self::Unknown => "dyn",
        }
    }
}

/// Names that every expression knows: types and functions that stand alone.
const KNOWN: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
    "google",
    "optional",
    "math",
    "sets",
    "strings",
    "net",
    "cel",
    "ip",
    "cidr",
    "url",
    "quantity",
    "semver",
    "format",
    "isIP",
    "isCIDR",
    "isURL",
    "isQuantity",
    "isSemver",
    "has",
    "size",
    "matches",
    "base64",
    "jsonpatch",
    "JSONPatch",
    "Object",
    "authorizer",
    "optional_type",
];

/// Checks an expression that may use `variables`; what it gives, or what is wrong.
pub(crate) fn check(text: &str, variables: &[&str]) -> Result<Type, String> {
    let tokens = tokens(text)?;
    let mut parser =
        Parser { tokens, at: 0, depth: 0, scope: variables.iter().map(|name| (*name).to_owned()).collect() };
    let of = parser.expression()?;
    match parser.peek() {
        None => Ok(of),
        Some(token) => Err(format!("Syntax error: extraneous input '{}' expecting <EOF>", token.text)),
    }
}

/// Whether a text can name a variable.
pub(crate) fn is_identifier(text: &str) -> bool {
    const RESERVED: &[&str] = &[
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !RESERVED.contains(&text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Int,
    Double,
    Text,
    Sign,
}

#[derive(Debug, Clone, Copy)]
struct Token<'t> {
    kind: Kind,
    text: &'t str,
}

const SIGNS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}",
];

fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let length = quoted_length(rest)?;
        let (kind, length) = if let Some(length) = length {
            (Kind::Text, length)
        } else if first.is_ascii_digit() {
            number_length(rest)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Kind::Name, end)
        } else if first == '`' {
            let end = rest
                .get(1..)
                .and_then(|rest| rest.find('`'))
                .ok_or("Syntax error: token recognition error at: '`'")?;
            (Kind::Name, end + 2)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("Syntax error: token recognition error at: '{first}'"))?;
            (Kind::Sign, sign.len())
        };
        let (token, after) = rest.split_at(length);
        tokens.push(Token { kind, text: token });
        rest = after;
    }
}

/// The length of a string or bytes literal, if there is one.
fn quoted_length(text: &str) -> Result<Option<usize>, String> {
    let prefix = text.bytes().take_while(|byte| b"rRbB".contains(byte)).count().min(2);
    for prefix in [0, prefix] {
        let body = text.get(prefix..).unwrap_or_default();
        let is_raw = text.get(..prefix).is_some_and(|prefix| prefix.contains(['r', 'R']));
        for quote in ["\"\"\"", "'''", "\"", "'"] {
            let Some(inner) = body.strip_prefix(quote) else { continue };
            let mut chars = inner.char_indices();
            while let Some((at, c)) = chars.next() {
                if c == '\\' && !is_raw {
                    chars.next();
                } else if inner.get(at..).is_some_and(|rest| rest.starts_with(quote)) {
                    return Ok(Some(prefix + 2 * quote.len() + at));
                } else if c == '\n' && quote.len() == 1 {
                    break;
                }
            }
            return Err(format!(
                "Syntax error: token recognition error at: '{}'",
                super::errors::quoted(body)
            ));
        }
    }
    Ok(None)
}

fn number_length(text: &str) -> (Kind, usize) {
    let digits =
        |from: usize| text.get(from..).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    if text.starts_with("0x") {
        let hex = text.get(2..).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_hexdigit).count());
        return (Kind::Int, 2 + hex);
    }
    let mut end = digits(0);
    let mut kind = Kind::Int;
    if text.as_bytes().get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
        kind = Kind::Double;
    }
    if text.as_bytes().get(end).is_some_and(|byte| b"eE".contains(byte)) {
        let sign = usize::from(text.as_bytes().get(end + 1).is_some_and(|byte| b"+-".contains(byte)));
        if digits(end + 1 + sign) > 0 {
            end += 1 + sign + digits(end + 1 + sign);
            kind = Kind::Double;
        }
    }
    if kind == Kind::Int && text.as_bytes().get(end).is_some_and(|byte| b"uU".contains(byte)) {
        end += 1;
    }
    (kind, end)
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    depth: usize,
    /// The names that may be used.
    scope: Vec<String>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).copied()
    }

    fn is(&self, sign: &str) -> bool {
        self.peek().is_some_and(|token| token.kind == Kind::Sign && token.text == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.take(sign) { Ok(()) } else { Err(self.mismatched(sign)) }
    }

    fn mismatched(&self, expected: &str) -> String {
        let found = self.peek().map_or("<EOF>", |token| token.text);
        format!("Syntax error: mismatched input '{found}' expecting {expected}")
    }

    fn expression(&mut self) -> Result<Type, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("expression recursion limit exceeded".to_owned());
        }
        let mut of = self.disjunction()?;
        if self.take("?") {
            let yes = self.disjunction()?;
            self.expect(":")?;
            let no = self.expression()?;
            of = if yes == no { yes } else { Type::Unknown };
        }
        self.depth -= 1;
        Ok(of)
    }

    fn disjunction(&mut self) -> Result<Type, String> {
        let mut of = self.conjunction()?;
        while self.take("||") {
            self.conjunction()?;
            of = Type::Bool;
        }
        Ok(of)
    }

    fn conjunction(&mut self) -> Result<Type, String> {
        let mut of = self.relation()?;
        while self.take("&&") {
            self.relation()?;
            of = Type::Bool;
        }
        Ok(of)
    }

    fn relation(&mut self) -> Result<Type, String> {
        let mut of = self.sum()?;
        loop {
            let is_in = self.peek().is_some_and(|token| token.kind == Kind::Name && token.text == "in");
            if is_in {
                self.at += 1;
            } else if !["==", "!=", "<=", ">=", "<", ">"].iter().any(|sign| self.take(sign)) {
                return Ok(of);
            }
            self.sum()?;
            of = Type::Bool;
        }
    }

    fn sum(&mut self) -> Result<Type, String> {
        let mut of = self.product()?;
        while self.take("+") || self.take("-") {
            let other = self.product()?;
            of = if of == other { of } else { Type::Unknown };
        }
        Ok(of)
    }

    fn product(&mut self) -> Result<Type, String> {
        let mut of = self.unary()?;
        while self.take("*") || self.take("/") || self.take("%") {
            let other = self.unary()?;
            of = if of == other { of } else { Type::Unknown };
        }
        Ok(of)
    }

    fn unary(&mut self) -> Result<Type, String> {
        if self.take("!") {
            while self.take("!") {}
            self.member()?;
            return Ok(Type::Bool);
        }
        while self.take("-") {}
        self.member()
    }

    fn member(&mut self) -> Result<Type, String> {
        let mut of = self.primary()?;
        loop {
            if self.take(".") {
                self.take("?");
                let name = self.peek().filter(|token| token.kind == Kind::Name);
                let name = name.ok_or_else(|| self.mismatched("IDENTIFIER"))?;
                self.at += 1;
                of = Type::Unknown;
                if self.take("(") {
                    of = self.call(name.text)?;
                }
            } else if self.take("[") {
                self.take("?");
                self.expression()?;
                self.expect("]")?;
                of = Type::Unknown;
            } else {
                return Ok(of);
            }
        }
    }

    /// The arguments of a method. The first argument of a macro names a variable of the others.
    fn call(&mut self, name: &str) -> Result<Type, String> {
        const MACROS: &[&str] = &[
            "all",
            "exists",
            "exists_one",
            "existsOne",
            "map",
            "filter",
            "sortBy",
            "transformList",
            "transformMap",
            "transformMapEntry",
            "optMap",
            "optFlatMap",
            "bind",
        ];
        let known = self.scope.len();
        if MACROS.contains(&name) {
            while let Some(token) = self.peek().filter(|token| token.kind == Kind::Name)
                && self.tokens.get(self.at + 1).is_some_and(|next| next.text == ",")
                && self.scope.len() < known + 2
            {
                self.scope.push(token.text.to_owned());
                self.at += 2;
            }
        }
        self.list(")")?;
        self.scope.truncate(known);
        Ok(match name {
            "all" | "exists" | "exists_one" | "existsOne" | "startsWith" | "endsWith" | "contains"
            | "matches" | "hasValue" | "allowed" => Type::Bool,
            _ => Type::Unknown,
        })
    }

    /// Expressions with commas between, up to a closing sign.
    fn list(&mut self, end: &str) -> Result<(), String> {
        while !self.take(end) {
            self.take("?");
            self.expression()?;
            if !self.take(",") && !self.is(end) {
                return Err(self.mismatched(end));
            }
        }
        Ok(())
    }

    /// `key: value` with commas between, up to `}`.
    fn entries(&mut self) -> Result<(), String> {
        while !self.take("}") {
            self.take("?");
            let is_field = self.peek().is_some_and(|token| token.kind == Kind::Name)
                && self.tokens.get(self.at + 1).is_some_and(|next| next.text == ":");
            if is_field {
                self.at += 1;
            } else {
                self.expression()?;
            }
            self.expect(":")?;
            self.expression()?;
            if !self.take(",") && !self.is("}") {
                return Err(self.mismatched("}"));
            }
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<Type, String> {
        self.take(".");
        let Some(token) = self.peek() else { return Err(self.mismatched("an expression")) };
        self.at += 1;
        match (token.kind, token.text) {
            (Kind::Int, _) => Ok(Type::Int),
            (Kind::Double, _) => Ok(Type::Double),
            (Kind::Text, _) => Ok(Type::Text),
            (Kind::Sign, "(") => {
                let of = self.expression()?;
                self.expect(")")?;
                Ok(of)
            }
            (Kind::Sign, "[") => self.list("]").map(|()| Type::List),
            (Kind::Sign, "{") => self.entries().map(|()| Type::Map),
            (Kind::Name, "true" | "false") => Ok(Type::Bool),
            (Kind::Name, "null") => Ok(Type::Null),
            (Kind::Name, name) => self.name(name),
            (Kind::Sign, _) => {
                self.at -= 1;
                Err(self.mismatched("an expression"))
            }
        }
    }

    fn name(&mut self, name: &str) -> Result<Type, String> {
        let is_known = KNOWN.contains(&name) || self.scope.iter().any(|known| known == name);
        if !is_known {
            return Err(format!("undeclared reference to '{name}' (in container '')"));
        }
        if self.take("(") {
            self.list(")")?;
            return Ok(match name {
                "has" | "matches" | "isIP" | "isCIDR" | "isURL" | "isQuantity" | "bool" => Type::Bool,
                "size" | "int" => Type::Int,
                "string" => Type::Text,
                "double" => Type::Double,
                _ => Type::Unknown,
            });
        }
        if name == "Object" {
            while self.take(".") {
                self.at += 1;
            }
            if self.take("{") {
                self.entries()?;
            }
        }
        Ok(Type::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (text, of) in [
            ("object.spec.replicas <= 5", Type::Bool),
            ("1 + 1", Type::Int),
            ("'a' + \"b\"", Type::Text),
            ("object.items.all(x, x.name.matches('^a') && !has(x.b))", Type::Bool),
            ("[1, 2].exists(i, i > object.a)", Type::Bool),
            ("{'a': 1, \"b\": [2]}", Type::Map),
            ("object.a ? 'x' : 'y'", Type::Text),
            ("object.?spec[?'a'].orValue(r'\\d')", Type::Unknown),
            ("-1.5e3 // a comment", Type::Double),
        ] {
            assert_eq!(check(text, &["object"]), Ok(of), "{text}");
        }
        for bad in [
            "object.spec.replicas <=",
            "foo.bar",
            "object.",
            "(1",
            "'a",
            "object @ 1",
            "",
            "a.all(x, x)",
            "1 1",
        ] {
            assert!(check(bad, &["object"]).is_err(), "{bad}");
        }
        let deep = "(".repeat(100_000);
        assert!(check(&deep, &[]).is_err());
    }
}
