import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.text.ParseException;
import java.time.Instant;
import java.time.Year;
import java.util.Date;
import java.util.TimeZone;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.quartz.CronExpression;

/**
 * Asks Quartz when an expression fires.
 *
 * <p>First line out: the last year in which this process's Quartz fires. Then, for each line
 * {@code ZONE <tab> START <tab> EXPRESSION} (start in seconds since the epoch; in the expression
 * {@code \t} and {@code \n} stand for those characters), one line: the first eight fires
 * after the start, asked for one after the other from three hours before it, in seconds since the epoch ({@code none} where there are fewer), or
 * {@code invalid} where the expression is refused, or {@code broken} where it is accepted and
 * asking for a fire fails, or {@code hangs} where no answer comes within twenty seconds.
 *
 * <p>{@code --zones}: reads names, answers the offset of Java's zone of that name now, in seconds.
 * {@code --transitions}: reads {@code ZONE <tab> FROM <tab> TO}, answers every change of offset
 * between the two as {@code instant:offset}.
 * {@code --bench}: reads {@code NAME <tab> EXPRESSION}, answers {@code NAME <tab> nanoseconds} a
 * next fire in UTC.
 */
final class QuartzOracle {
  private static final int FIRES = 8;

  /**
   * So many seconds before the start the first fire is asked for, as a trigger asks from the fire before:
   * near a change of clocks the answer depends on where the search begins.
   */
  private static final long BEFORE = 3 * 3_600;

  private QuartzOracle() {}

  public static void main(String[] arguments) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    String mode = arguments.length == 0 ? "--fires" : arguments[0];
    if (mode.equals("--fires")) {
      out.println(Year.now().getValue() + 100);
    }
    var worker = daemon();
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] part = line.split("\t", -1);
      switch (mode) {
        case "--fires" -> {
          Future<String> answer =
              worker.submit(() -> fires(part[0], Long.parseLong(part[1]), unescaped(part[2])));
          try {
            out.println(answer.get(20, TimeUnit.SECONDS));
          } catch (TimeoutException late) {
            // The thread cannot be stopped; it ends with the process.
            worker = daemon();
            out.println("hangs");
          }
        }
        case "--zones" -> out.println(TimeZone.getTimeZone(line).getRawOffset() / 1000);
        case "--transitions" -> out.println(transitions(part));
        case "--bench" -> out.println(part[0] + "\t" + bench(part[1]));
        default -> throw new IllegalArgumentException(mode);
      }
    }
    out.flush();
    System.exit(0);
  }

  private static ExecutorService daemon() {
    return Executors.newSingleThreadExecutor(
        task -> {
          var thread = new Thread(task);
          thread.setDaemon(true);
          return thread;
        });
  }

  private static String unescaped(String text) {
    return text.replace("\\t", "\t").replace("\\n", "\n");
  }

  private static String fires(String zone, long start, String text) {
    CronExpression expression;
    try {
      expression = new CronExpression(text);
    } catch (ParseException refused) {
      return "invalid";
    }
    expression.setTimeZone(TimeZone.getTimeZone(zone));
    var answer = new StringBuilder();
    var after = new Date((start - BEFORE) * 1000);
    for (int i = 0; i < FIRES; ) {
      try {
        after = after == null ? null : expression.getNextValidTimeAfter(after);
      } catch (RuntimeException broken) {
        return "broken";
      }
      if (after != null && after.getTime() <= start * 1000) {
        continue;
      }
      answer.append(i == 0 ? "" : " ").append(after == null ? "none" : after.getTime() / 1000);
      i++;
    }
    return answer.toString();
  }

  private static String transitions(String[] part) {
    var rules = TimeZone.getTimeZone(part[0]).toZoneId().getRules();
    var until = Instant.ofEpochSecond(Long.parseLong(part[2]));
    var answer = new StringBuilder();
    var change = rules.nextTransition(Instant.ofEpochSecond(Long.parseLong(part[1])));
    while (change != null && change.getInstant().isBefore(until)) {
      answer
          .append(answer.length() == 0 ? "" : " ")
          .append(change.getInstant().getEpochSecond())
          .append(':')
          .append(change.getOffsetAfter().getTotalSeconds());
      change = rules.nextTransition(change.getInstant());
    }
    return answer.toString();
  }

  /** The median of rounds that each walk from fire to fire, after the compiler has warmed up. */
  private static long bench(String text) throws ParseException {
    var expression = new CronExpression(text);
    expression.setTimeZone(TimeZone.getTimeZone("UTC"));
    var start = new Date(1767225600000L);
    long[] rounds = new long[201];
    for (int round = -200; round < rounds.length; round++) {
      var after = start;
      int steps = 0;
      long began = System.nanoTime();
      while (steps < 200) {
        after = expression.getNextValidTimeAfter(after);
        after = after == null || after.getTime() > 4102444800000L ? start : after;
        steps++;
      }
      if (round >= 0) {
        rounds[round] = (System.nanoTime() - began) / steps;
      }
    }
    java.util.Arrays.sort(rounds);
    return rounds[rounds.length / 2];
  }
}
