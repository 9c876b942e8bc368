//! The words that names of settings consist of, by what they say about the value.

/// How strongly a word says that the value is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Noun {
    /// Credentials among other things (`auth`, `cert`): the value must look like a credential too.
    Weak,
    /// A credential, unless the value is a short number or boolean.
    Token,
    /// A password: whatever the value is.
    Password,
}

/// What the last word of a name says the value is; see [`crate::forms`] for what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Describer {
    /// A word of a short list: `SECRET_TYPE`, `PASSWORD_POLICY`.
    Word,
    /// A file: `PASSWORD_FILE`.
    Path,
    /// The name of something: `SECRET_NAME`, `TOKEN_HEADER`.
    Name,
    /// A number or a duration: `TOKEN_TTL`.
    Number,
    /// A switch: `AUTH_ENABLED`.
    Switch,
    /// Where something is: `AUTH_URL`.
    Url,
    /// Text for people or a pattern: `PASSWORD_HINT`, `TOKEN_REGEX`.
    Prose,
}

/// Words that a name may consist of, as one space-separated list for each meaning.
const PASSWORDS: &str = "password passwords passwd pwd pass passphrase passcode pw psk pin pincode secret secrets \
    passwort kennwort contrasena contraseña clave senha motdepasse mdp пароль wachtwoord losenord lösenord haslo hasło \
    parola salasana sifre şifre jelszo jelszó heslo adgangskode passord 密码 密碼 口令 パスワード 비밀번호 암호";
const TOKENS: &str = "token tokens credential credentials creds cred bearer jwt authorization apikey apikeys accesskey \
    secretkey privatekey authkey signingkey encryptionkey masterkey sharedkey sshkey licensekey deploykey dsn connstr \
    connectionstring htpasswd pgpass netrc dockerconfigjson dockercfg kubeconfig sas otp totp mnemonic salt cookie \
    pepper keytab authtoken 密钥 密鑰 秘密";
const WEAK: &str = "auth authentication oauth cert certs certificate certificates pem seed session sessionid license \
    licence webhook signature sig hmac keystore truststore login";

const WORD: &str = "type kind mode policy policies class provider backend scheme algorithm alg algo format strength \
    complexity profile profiles preference preferences pref prefs manager engine driver plugin strategy method issuer \
    audience audiences scope scopes realm usage style category state status source target level encoding grant flow \
    response protocol action actions";
const PATH: &str =
    "file files path paths dir directory folder location mount mountpath filename filepath store volume";
const NAME: &str = "name names ref refs reference user username users label prefix suffix namespace env variable var \
    field column table header headers id ids group groups role roles service resource property claim parameter param \
    selector owner project bucket email algorithmname reviewer reviews review";
const NUMBER: &str = "length len size min max minimum maximum count ttl timeout expiry expiration expires expire age \
    lifetime interval period duration seconds secs minutes hours days ms millis rotation retries attempts limit limits \
    port ports version history iterations rounds validity cost number num rate burst percent percentage threshold delay \
    window skew leeway budget refresh";
const SWITCH: &str = "enabled enable disabled disable required allowed optional on off verify verification validation \
    reset change check";
const URL: &str = "url urls uri uris endpoint endpoints host hosts hostname hostnames server servers address addr \
    domain domains proxy link origin";
const PROSE: &str = "regex regexp pattern hint description desc prompt placeholder message template title comment note \
    help";

/// Words before `key` that make it one that locks, whatever the value looks like.
const LOCKING: &str = "master aes ssh stripe app session api access private signing sign encryption encrypt secret auth \
    authorized license licence deploy storage shared hmac rsa ec ecdsa ed25519 pgp gpg cipher crypto crypt root admin \
    consumer integration ingest jwt token webhook service account symmetric unseal recovery client server tls ssl host \
    transit data wallet seed sendgrid mailgun twilio openai anthropic datadog newrelic segment algolia maps google \
    github gitlab slack sentry azure aws gcp hash salt cookie password db database internal vault registration bearer \
    publishable preshared pre";
/// Words before `key` that name an entry of a table, a column or something public.
const NAMING: &str = "public pub topology partition sort index cache routing label annotation map hot idempotency \
    column group message record row foreign primary config property field node selector search natural surrogate \
    lookup unique sharding shard object file metadata first last answer arrow any dictionary env state lock \
    sorting grouping feature flag translation i18n";

/// Words in front of a password's name that make the setting a switch.
const VERBS: &str = "allow use enable require required is has no skip disable generate random auto show hide empty with \
    without need needs set create automount validate verify force reset save store remember mount inject rotate update \
    sync existing check support supports send include";
/// Words that make a number of tokens a count.
const COUNTS: &str = "max min maximum minimum num number count total per limit avg average";
/// Words at the end that say how a value is written or where it is used, not what it is.
const NEUTRAL: &str = "value val default b64 base64 encoded enc encrypted plain plaintext raw text string str \
    literal prod production dev development staging stage test testing qa old new current previous prev main \
    secondary readonly ro rw local remote internal external";

/// The meaning of a word, looked up in the lists above.
#[derive(Debug, Default)]
pub(super) struct Lists {
    nouns: std::collections::HashMap<&'static str, Noun>,
    describers: std::collections::HashMap<&'static str, Describer>,
    others: std::collections::HashMap<&'static str, Vec<List>>,
}

/// A list of words around the nouns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Locking,
    Naming,
    Verb,
    Count,
    Neutral,
}

impl Lists {
    pub(super) fn new() -> Self {
        let mut lists = Self::default();
        for (words, noun) in [(WEAK, Noun::Weak), (TOKENS, Noun::Token), (PASSWORDS, Noun::Password)] {
            lists.nouns.extend(words.split_whitespace().map(|word| (word, noun)));
        }
        let describers = [
            (WORD, Describer::Word),
            (PATH, Describer::Path),
            (NAME, Describer::Name),
            (NUMBER, Describer::Number),
            (SWITCH, Describer::Switch),
            (URL, Describer::Url),
            (PROSE, Describer::Prose),
        ];
        for (words, describer) in describers {
            lists.describers.extend(words.split_whitespace().map(|word| (word, describer)));
        }
        let others = [
            (LOCKING, List::Locking),
            (NAMING, List::Naming),
            (VERBS, List::Verb),
            (COUNTS, List::Count),
            (NEUTRAL, List::Neutral),
        ];
        for (words, list) in others {
            for word in words.split_whitespace() {
                lists.others.entry(word).or_default().push(list);
            }
        }
        lists
    }

    pub(super) fn noun(&self, word: &str) -> Option<Noun> {
        self.nouns.get(word).copied()
    }

    pub(super) fn describer(&self, word: &str) -> Option<Describer> {
        self.describers.get(word).copied()
    }

    pub(super) fn is(&self, list: List, word: &str) -> bool {
        self.others.get(word).is_some_and(|lists| lists.contains(&list))
    }

    /// Whether a word ends with one of a list that is long enough to be recognised inside another.
    pub(super) fn ends_with(&self, list: List, word: &str) -> bool {
        const LONG: usize = 4;
        let ends = word.char_indices().map(|(at, _)| at).filter(|at| *at == 0 || word.len() - at >= LONG);
        ends.filter_map(|at| word.get(at..)).any(|end| self.is(list, end))
    }
}
