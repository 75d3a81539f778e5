import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;

/**
 * What SnakeYAML makes of documents: NUL parts them on standard input. For each single value a line
 * PATH TAB CLASS TAB TEXT, the text as hexadecimal UTF-8, and a line with -- after each document.
 */
public final class SnakeYamlOracle {
    public static void main(String[] args) throws Exception {
        String all = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        StringBuilder out = new StringBuilder();
        for (String document : all.split("\0")) {
            try {
                Object root = new Yaml(new SafeConstructor(new LoaderOptions())).load(document);
                write("", root, out);
            } catch (RuntimeException why) {
                line("", "error", String.valueOf(why.getMessage()), out);
            }
            out.append("--\n");
        }
        System.out.print(out);
        System.out.flush();
    }

    private static void write(String path, Object value, StringBuilder out) {
        if (value instanceof Map<?, ?> map) {
            map.forEach((key, inner) -> write(path + "/" + key, inner, out));
            return;
        }
        if (value instanceof Iterable<?> list) {
            int index = 0;
            for (Object inner : list) {
                write(path + "/" + index++, inner, out);
            }
            return;
        }
        String name = value == null ? "null" : value.getClass().getSimpleName();
        line(path, name, String.valueOf(value), out);
    }

    private static void line(String path, String name, String text, StringBuilder out) {
        out.append(path).append('\t').append(name).append('\t');
        for (byte one : text.getBytes(StandardCharsets.UTF_8)) {
            out.append(String.format("%02x", one));
        }
        out.append('\n');
    }
}
