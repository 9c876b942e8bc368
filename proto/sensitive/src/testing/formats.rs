//! Texts in the languages of configuration files and commands.

use serde_json::json;

use super::{Dice, LOWER, MIXED, Shape, annotated, config_map, container, encoded, pod, structured};

/// Texts that hold `v`, by their language.
fn texts(v: &str) -> Vec<(&'static str, String)> {
    let basic = encoded(&format!("app:{v}"));
    vec![
        ("JSON", json!({"server": {"port": 80, "password": v}}).to_string()),
        ("JSON in lines", format!("{{\n  \"user\": \"app\",\n  \"apiKey\": \"{v}\"\n}}\n")),
        ("JSON in JSON", json!({"inner": json!({"db_password": v}).to_string()}).to_string()),
        ("JSON pairs", json!([{"name": "DB_PASSWORD", "value": v}]).to_string()),
        ("broken JSON", format!("{{\"password\": \"{v}\", \"port\": ")),
        ("YAML", format!("server:\n  port: 80\n  password: {v}\n")),
        ("YAML in quotes", format!("server:\n  password: \"{v}\" # the password\n")),
        ("YAML pairs", format!("env:\n- name: DB_PASSWORD\n  value: {v}\n- name: MODE\n  value: x\n")),
        ("YAML block", format!("server:\n  password: |\n    {v}\n  port: 80\n")),
        ("YAML in a flow", format!("db: {{user: app, password: {v}, port: 5432}}\n")),
        ("YAML comment", format!("# password: {v}\nport: 80\n")),
        ("Secret in YAML", format!("apiVersion: v1\nkind: Secret\nstringData:\n  mode: {v}\n")),
        ("second document", format!("kind: A\n---\nkind: Secret\nstringData:\n  mode: {v}\n")),
        ("Helm template", format!("{{{{- if .x }}}}\npassword: {v}\n{{{{- end }}}}\n")),
        ("INI", format!("[db]\nuser = app\npassword = {v}\n")),
        ("INI without blanks", format!("[db]\nuser=app\npassword={v}\n")),
        ("TOML", format!("[db]\nuser = \"app\"\npassword = \"{v}\"\n")),
        ("properties", format!("spring.datasource.url=jdbc:h2:mem\nspring.datasource.password={v}\n")),
        (".env", format!("MODE=x\nDB_PASSWORD={v}\nPORT=80\n")),
        (".env in quotes", format!("MODE=x\nDB_PASSWORD='{v}'\n")),
        ("export", format!("export MODE=x\nexport DB_PASSWORD={v} && run\n")),
        ("shell", format!("run --mode x --password={v} --verbose")),
        ("second pair", format!("MODE=x DB_PASSWORD={v} ./run")),
        ("flag of two words", format!("run --mode x --password {v}; sleep 1")),
        ("script", format!("#!/bin/sh\nset -e\nPGPASSWORD='{v}' psql -h db -U app\n")),
        ("mysql", format!("mysql -h db -uapp -p{v} -e 'select 1'")),
        ("sshpass", format!("sshpass -p {v} ssh host true")),
        ("curl -u", format!("curl -s -u app:{v} http://db/x")),
        ("curl -H", format!("curl -H \"X-Api-Key: {v}\" http://db/x")),
        ("curl bearer", format!("curl -H 'Authorization: Bearer {v}x9' http://db/x")),
        ("chpasswd", format!("echo \"root:{v}\" | chpasswd")),
        ("docker login", format!("echo {v} | docker login -u app --password-stdin")),
        ("SQL", format!("CREATE USER app IDENTIFIED BY '{v}';")),
        ("SQL role", format!("ALTER ROLE app WITH PASSWORD '{v}';")),
        ("redis.conf", format!("port 6379\nrequirepass {v}\n")),
        ("netrc", format!("machine db\nlogin app\npassword {v}\n")),
        ("XML element", format!("<db><user>app</user><password>{v}</password></db>")),
        ("XML attribute", format!("<db user=\"app\" password=\"{v}\"/>")),
        ("XML add", format!("<appSettings><add key=\"DbPassword\" value=\"{v}\"/></appSettings>")),
        (
            "XML property",
            format!("<property>\n<name>fs.s3a.secret.key</name>\n<value>{v}</value>\n</property>"),
        ),
        ("XML entry", format!("<entry key=\"db.password\">{v}</entry>")),
        ("PHP define", format!("<?php\ndefine('DB_PASSWORD', '{v}');\n")),
        ("PHP array", format!("return ['user' => 'app', 'password' => '{v}'];")),
        ("PHP variable", format!("$dbPassword = \"{v}\";")),
        ("Python", format!("config[\"SECRET_KEY\"] = \"{v}\"\n")),
        ("HCL", format!("variable = 1\npassword = \"{v}\"\n")),
        ("URL", format!("postgres://app:{v}@db:5432/x?sslmode=disable")),
        ("URL without user", format!("redis://:{v}@cache:6379/0")),
        ("URL with a slash", format!("amqp://app:{v}/y@mq:5672/v")),
        ("second URL", format!("http://db:80/a http://app:{v}@db:80/b")),
        ("second URL in one word", format!("amqp://mq:5672,amqp://app:{v}@mq2:5672")),
        ("URL query", format!("https://db.example.org/x?mode=y&password={v}&z=1")),
        ("URL token", format!("https://db.example.org/x?access_token={v}")),
        ("libpq", format!("host=db port=5432 user=app password={v} dbname=x")),
        ("libpq in quotes", format!("host=db password='{v}' dbname=x")),
        ("ADO", format!("Server=db,1433;Database=x;User Id=app;Password={v};Encrypt=true")),
        ("ADO short", format!("Data Source=db;uid=app;pwd={v}")),
        ("JDBC", format!("jdbc:sqlserver://db:1433;user=app;password={v}")),
        ("JDBC query", format!("jdbc:mysql://db:3306/x?user=app&password={v}")),
        ("Oracle", format!("jdbc:oracle:thin:app/{v}@//db:1521/x")),
        ("Go MySQL", format!("app:{v}z@tcp(db:3306)/x")),
        ("redis options", format!("cache:6379,password={v},ssl=True")),
        (
            "storage account",
            format!("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={v};EndpointSuffix=y"),
        ),
        ("docker config", json!({"auths": {"registry.example.org": {"auth": basic}}}).to_string()),
        ("htpasswd", format!("app:$apr1$x1y2z3$A{v}Bc1\n")),
        ("variable with a default", format!("${{DB_PASSWORD:-{v}}}")),
        ("kubectl", format!("kubectl create secret generic x --from-literal=password={v}")),
        ("helm", format!("helm install x y --set auth.password={v}")),
    ]
}

pub(super) fn add(dice: &mut Dice, shapes: &mut Vec<Shape>) {
    for round in 0..3 {
        let value = match round {
            0 => format!("{}{}", dice.text(LOWER, 7), dice.text("23456789", 3)),
            1 => format!("q4{}", dice.text(MIXED, 11)),
            _ => format!("{}-{}7", dice.text(LOWER, 5), dice.text(MIXED, 6)),
        };
        for (at, (language, text)) in texts(&value).into_iter().enumerate() {
            let secret = match language {
                "docker config" => encoded(&format!("app:{value}")),
                _ => value.clone(),
            };
            let document = match (at + round) % 4 {
                0 => config_map("settings", text.as_str()),
                1 => pod("SETTINGS", &text),
                2 => annotated("example.org/settings", &text),
                _ => container(json!({"args": ["-c", text.as_str()]})),
            };
            shapes.push(structured(format!("{language} ({secret})"), document, &secret));
            // The same in base64, alone and inside JSON.
            if round == 0 && !matches!(language, "docker config" | "netrc" | "redis.conf") {
                let inner = encoded(&text);
                shapes.push(structured(
                    format!("{language} in base64 ({inner})"),
                    config_map("settings", inner.as_str()),
                    &inner,
                ));
                let text = json!({"settings": inner}).to_string();
                shapes.push(structured(
                    format!("{language} in base64 in JSON ({inner})"),
                    config_map("x.json", text),
                    &inner,
                ));
            }
        }
    }
}
